"""The paper's tables and figures, measured again and put beside what it prints.

`study` poisons, tunes and scans; `table_3` and its like compute an item from what was
measured, without knowing what the paper prints (`printed`); `page` puts the two beside
each other.
"""
