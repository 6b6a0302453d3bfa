"""The paper's tables and figures, measured again and put beside what it prints.

`study` says what is measured, and `measured` poisons, tunes and scans. `table_3` and
its like compute an item from the evidence, without knowing what the paper prints, which
is in `printed`; `page` puts the two beside each other.
"""
