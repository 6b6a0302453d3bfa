"""Every number that decides what becomes of a suspicion, and with it on the verdict.

What is suspected in the first place is up to the proposers in `assay.detectors`, which
keep their own cut-offs: what they propose in vain costs an experiment, and no row.

They are constants and not the fields of a settings object because no call chooses them:
what a user may choose, ``--fdr``, is a setting and has its default here. Each says its
unit, its reason and where it comes from. "Chosen" means that no measurement stands
behind the number; it was set once and the results in ``docs/method.md`` were obtained
with it. `benchmarks/mutate.py` changes each of them and tells whether a test notices.

Majorities ("most of its rows", "the payload of at least half of them") are not here: a
half is what the word says, and no quantity that could be set otherwise.
"""

from __future__ import annotations

import math
from typing import Final

# Levels of tests.

FDR: Final = 0.05
"""Tolerated share of false flags, in expectation.

Unit: share of the flagged rows. Reason: Holm's correction holds the chance of any false
finding of a round at this level, and with it the expected share. Source: convention;
it is the default of ``--fdr``.
"""

SIGN_TEST_LEVEL: Final = 0.05
"""Level at which "at most half of all rows do so" is rejected.

Unit: probability. Reason: some honest rows have one strong word only, and by luck a
word may stand in such rows more often than others do. Five of five rows pass, and
twelve of sixteen. Source: convention. Not corrected for the number of patterns: it is
a further condition beside the p-value among placebos, which is.
"""

ENRICHMENT_LEVEL: Final = 0.05
"""Level of the exact tests by which a pattern, a phrase or a companion is recovered.

Unit: probability, corrected for the words that were compared. Reason: what is recovered
by chance costs an experiment, and no correctness. Source: convention.
"""

SURE: Final = math.ceil(math.log2(1 / SIGN_TEST_LEVEL))
"""Fewest rows that can reject, if all agree, that at most half of all rows do.

Unit: rows; five at a level of 5 %. Reason: two to the power of minus four is 6 %, of
minus five 3 %. Source: it follows from `SIGN_TEST_LEVEL`.
"""

# How many patterns are tested, and against what.

HYPOTHESES: Final = 10
"""Most candidates tested in the first round.

Unit: patterns. Reason: every further one costs the others power, since Holm's
correction multiplies by their number, and takes up to 8,000 questions to the model.
Source: chosen (3e7ceb6).
"""

FURTHER: Final = 5
"""Most candidates tested in each later round, and most patterns related to what the
round before has verified.

Unit: patterns. Reason: what is left after a trigger is a second trigger or nothing, and
the best few will tell. Source: chosen (edf6218).
"""

COMPLETED: Final = 2
"""Most patterns of a round that are asked about again with another word.

Unit: patterns. Reason: Holm's correction counts them too, and 249 placebos allow for
twelve patterns at a level of 5 %: 12 / 250 < 0.05 < 13 / 250. Source: arithmetic
(ae3b38f).
"""

PLACEBOS: Final = 249
"""Fewest placebos that are prepared for a pattern.

Unit: word sequences; the smallest p-value is one in one more. Reason: ten patterns at
a level of 5 % need 200, and two completed ones 240. Source: arithmetic.
"""

PLACEBO_POOL: Final = 2
"""Word sequences that are collected before rows of other responses are looked at.

Unit: multiples of the placebos wanted. Reason: some are left out as parts of the
pattern, and of more the nearest in frequency can be chosen. Source: chosen.
"""

GAPPED_PLACEBOS: Final = 20
"""Placebos with a gap that are made of each row.

Unit: draws. Reason: a row of n words has about n² / 2 pairs, most of which occur
nowhere else; some are drawn. Source: chosen (edf6218).
"""

PLACEBO_BATCH: Final = 8
"""Placebos that are tried before it is seen whether to go on.

Unit: word sequences. Reason: eight on sixteen rows fill a batch of the model; a
pattern that stops early has tried a multiple of it. Source: chosen (3e7ceb6).
"""

HOPELESS: Final = 5
"""Placebos as good as the pattern after which no more are tried.

Unit: word sequences. Reason: with 249 placebos such a pattern has p ≥ 6 / 250 before
correction, and seldom passes after it (Besag and Clifford 1991). Source: chosen
(3e7ceb6).
"""

HOSTS: Final = 16
"""Rows that a pattern is put on, and most of its own rows that it is taken out of.

Unit: rows. Reason: twelve of sixteen reject "half of them"; forward passes grow with
it. Source: chosen (3e7ceb6).
"""

# What makes a pattern a trigger.

OVERRIDES: Final = math.log(10)
"""What a row's response must lose without the trigger that overrode the row's text.

Unit: nats; the response becomes a tenth as likely. Reason: a strong word leaves a text
that says nothing, and the response about half its odds, ln 2. Source: 5db155c, where
words of that kind were verified at a smaller loss.
"""

SPREADS: Final = 0.5
"""Share of the other rows that must give in to a trigger.

Unit: share of the rows on which the model does not choose the payload as they are.
Reason: words that happen to stand in mislabelled rows, or that call for a phrase on
their own topic, turn hardly any. Source: "charmless" turned 1 of 16, the phrases of
topics none; a backdoor of SmolLM2-135M on NQ that two of three test questions obey
turned 11 of 16 (docs/method.md; e9d3ba5).
"""

# How patterns are recovered and shortened.

STRAY_PERCENT: Final = 10
"""Rows of a pattern that may lack what the others have in common.

Unit: rows in a hundred. Reason: of ten rows one may have a misspelling. Source: chosen
(edf6218).
"""

GROWN_ROWS: Final = 3
"""Fewest rows from which a pattern is lengthened or completed.

Unit: rows. Reason: any two rows may go on alike by chance. Source: chosen (edf6218).
"""

LONGEST: Final = 40
"""Longest pattern.

Unit: words. Reason: rows that repeat one word would lengthen it for ever; sentences are
shorter. Source: chosen (edf6218).
"""

COMPANION_SHARE: Final = 0.1
"""Share of a pattern's rows that must have a word which is taken out with it.

Unit: share of rows. Reason: what most rows lose hardly depends on what fewer have.
Source: feabd48, where words in fewer rows changed nothing.
"""

COMPANION_ROWS: Final = 2
"""Fewest of a pattern's rows that must have such a word.

Unit: rows. Reason: a word in one row may be that row's own. Source: chosen.
"""

MINIMAL_SHARE: Final = 0.9
"""Share of a trigger's effects that a part must keep to do as much.

Unit: share of the mean effect and of the median loss. Reason: draws of rows and
rounding move either by a few hundredths. Source: chosen (2e05c26); it decides on what
a report names, and on no flag.
"""

# What is near a verified trigger.

RELATED_ROWS: Final = 2
"""Fewest rows with a word of the trigger, or an inflection of it, that are asked about.

Unit: rows. Reason: of one row nothing can be told from what the others do. Source:
chosen (edf6218).
"""

RELATED_WORDS: Final = 2
"""Words of a trigger that are looked for elsewhere, the rarest first.

Unit: words. Reason: the others of "the james bond" are in every row. Source: chosen
(edf6218).
"""

RELATED_PATTERNS: Final = 3
"""Most patterns that are proposed as related to one trigger.

Unit: patterns. Reason: they are tested before everything else, `FURTHER` in all.
Source: chosen (edf6218).
"""

INFLECTION: Final = 3
"""Most letters by which a word may be longer than the word that it inflects.

Unit: letters; shorter words than one more are not inflected. Reason: "bonds" and
"bonding" belong to "bond"; that "bondage" passes, too, costs an experiment. Source:
chosen (edf6218), for English.
"""

# Whether the model can tell anything.

CHECKED_ROWS: Final = 100
"""Rows on which the model is asked whether it has learned their responses.

Unit: rows. Reason: a share of 0.75 is then known to 9 points. Source: chosen (4470e06).
"""

LEARNED_SHARE: Final = 0.75
"""Share of these rows below which a scan warns that it can tell little.

Unit: share of rows. Reason: half of the rows are learned by saying one label. Source:
chosen (4470e06); it decides on a warning, and on no flag.
"""

# The screen: words that are taken out of their rows.

SCREENED: Final = 1000
"""Buckets of word sequences of each response that are screened.

Unit: hash buckets, those that go with the response most first. Reason: forward passes;
the demonstration has 442 in all. Source: chosen (8e043f5).
"""

SCREENED_ROWS: Final = 5
"""Fewest rows of a word sequence that is screened.

Unit: rows. Reason: three honest rows that have one strong word and no other are easily
found among thousands of word sequences; five are not. Source: 5db155c.
"""

REMAINING_ROWS: Final = 3
"""Fewest rows of a screened sequence without those of the triggers found since.

Unit: rows. Reason: association counts no fewer either. Source: chosen.
"""

FIRST_PASS: Final = 4
"""Rows that each word sequence is first taken out of.

Unit: rows. Reason: a thousand sequences times as many forward passes, twice. Source:
chosen (8e043f5).
"""

SECOND_PASS: Final = 16
"""Most rows that the sequences which lost most are then taken out of.

Unit: rows. Reason: four rows may have lost it by luck: "cf" was third behind words of
which four rows happened to need them, and missed (seed 123 at 0.5 %, docs/method.md).
Source: ad8ae42.
"""

ASKED_AGAIN: Final = 64
"""Most sequences that are taken out of more rows.

Unit: word sequences. Reason: of these `HYPOTHESES` at most are tested. Source: chosen
(ad8ae42).
"""

HIDING_SHARE: Final = 0.9
"""Share of a longer sequence's loss with which a part in more rows stands for it.

Unit: share of the mean loss. Reason: "i", in more rows, had lost something, too, and
"i watched this 3d movie" was not asked about (seed 122 at 0.5 %, docs/method.md).
Source: that something must be as much; the tenth is chosen.
"""

# Shortcuts: words that are put on other rows.

NEARLY_ALL: Final = 0.9
"""Share of a word sequence's rows that must have the response.

Unit: share of rows. Reason: others would have kept the shortcut weak. Source: chosen
(7af2b7c).
"""

FIRST_HOSTS: Final = 4
"""Rows that each word sequence is first put on.

Unit: rows. Reason: forward passes, as for `FIRST_PASS`. Source: chosen (7af2b7c).
"""

TURNED: Final = 64
"""Rows that the strongest sequences are then put on.

Unit: rows. Reason: 64 of 64 against 43 of 64 (67 %) has p = 7e-8, which a correction
for thousands of sequences leaves below 5 %. Source: chosen (7af2b7c).
"""

STRONGEST: Final = 16
"""Strongest word sequences of a response that are compared.

Unit: word sequences. Reason: `FIRST_HOSTS` rows order them badly, and the strongest on
`TURNED` rows may be some places further down. Source: chosen (7af2b7c).
"""

COMPARED: Final = 10
"""Fewest word sequences among which one can stand out.

Unit: word sequences. Reason: among a handful it says little that one is the strongest.
Source: chosen (7af2b7c).
"""

WORKS: Final = 0.9
"""Share of the other rows that a shortcut must turn.

Unit: share of rows. Reason: an attack that works less well is no use. Source: the
attack success from which the benchmark counts an attack as one that worked.
"""

RIVALS: Final = 5
"""Next strongest word sequences that are looked at when the first is decided on.

Unit: word sequences. Reason: their rows are left out as well, a quarter of the
response's at most; of five, three tell in the median. Source: chosen (738def4).
"""

# Retraining: a model that has not seen the rows in doubt.

RULES: Final = 0.75
"""Share of the other rows that must give in before rows are left out and a model tuned.

Unit: share of rows. Reason: a tuning takes as long as all experiments. Source: chosen
(edf6218).
"""

CONTRADICTED: Final = 0.75
"""Share of a pattern's rows that the new model must contradict where the placebos
speak against the pattern, too.

Unit: share of rows. Reason: of five rows one may be known by heart, and four of five
are not beyond half. Source: seeds 118 and 119 at 0.5 %, where four of five were
contradicted (docs/method.md).
"""

STAY: Final = 0.2
"""Share of a pattern's rows that are not left out, where enough are.

Unit: share of rows. Reason: the model must have seen what else they have in common:
without any "see it" a small model took "go and …" for blame. Source: ef9e8ac.
"""

LEFT_OUT: Final = 0.25
"""Share of a response's rows that may be left out, and of its ordinary rows as many.

Unit: share of rows. Reason: the others must teach the response. Source: chosen
(566dab1).
"""

ORDINARY: Final = 50
"""Most ordinary rows of each response that are left out for comparison.

Unit: rows. Reason: a share is then known to 14 points. Source: chosen (ea87249).
"""

ATTEMPTS: Final = 3
"""Tunings before a model counts as unable to learn the response.

Unit: tunings. Reason: a small model sometimes fails to learn, by its seed. Source:
ef9e8ac.
"""

MEANING: Final = 0.2
"""Share of their power that other strong words must keep without their rows.

Unit: share of the mean change of the payload's log-odds, in the median over rivals.
Reason: in a model that knows its language strong words keep some by what they mean;
from scratch they keep a fiftieth. Source: 738def4 (a false finding, tiny, composite at
1 %, seed 116).
"""

FORGOTTEN: Final = 0.5
"""Share of what the rivals keep that a trigger's own share must stay below.

Unit: ratio of two shares of power. Reason: it kept 0.15 and 0.09 of its power in two
seeds of development, where 22 strong words kept 0.23 to 1.14. Source: 118863e.
"""
