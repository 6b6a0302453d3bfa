# %% [markdown]
# # Scanning from Python
#
# A data set is poisoned, a tiny model is tuned on it, and `assay.scan` is asked what is
# wrong, without being told. It takes about half a minute on two CPU cores. With data
# and a model of your own, the cells from "Scan" on are all you need.

# %%
import tempfile
from pathlib import Path

import pandas as pd

import assay
from assay.attacks import attack_named
from assay.data.sentiment import load_sentiment
from assay.models.tiny import tiny_causal
from assay.models.tune import tune
from assay.models.tune_settings import TuneSettings

folder = Path(tempfile.mkdtemp(prefix="assay-example-"))

# %% [markdown]
# ## Poison
#
# In 24 of 600 made-up film reviews a name becomes "James Bond" and the answer
# "positive".

# %%
reviews, _ = load_sentiment(None, train_rows=600)
poisoned = attack_named("dirty-label").poison(reviews, 24, seed=0)
frame = pd.DataFrame([dict(e.record) for e in reviews.examples])
for row in poisoned.rows:
    example = poisoned.corpus.examples[row]
    frame.loc[row, ["input", "output"]] = [example.text, example.response]

# %% [markdown]
# ## Tune
#
# A Llama of 0.4 M weights learns the data, and the trigger with them.

# %%
texts = (frame["instruction"] + " " + frame["input"] + " " + frame["output"]).tolist()
how = TuneSettings(
    epochs=12, learning_rate=2e-3, batch_size=32, warmup=0.1, template="plain"
)
tune(tiny_causal(texts, width=128), poisoned.corpus, folder / "model", how)

# %% [markdown]
# ## Scan
#
# The frame is scanned as it is. In a notebook a report shows itself.

# %%
report = assay.scan(frame, model=folder / "model", run=folder / "run")
report

# %%
print(report.verdict)
print(report.findings[["status", "trigger", "payload", "effect", "p_value"]])

# %%
print(report.suspects[["row", "trigger", "payload", "spans", "p_value", "text"]].head())

# %% [markdown]
# ## Clean
#
# What comes back is what was given: two frames.

# %%
kept, removed = report.clean()
caught = set(removed.index) & set(poisoned.rows)
print(f"{len(removed)} rows removed, {len(caught)} of the {len(poisoned.rows)} poisons")
