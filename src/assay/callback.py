"""A scan at the end of training, as a callback of ``transformers.Trainer``."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate.utils import extract_model_from_parallel
from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from assay.api import Report, scan
from assay.data.objects import as_corpus
from assay.errors import AssayError
from assay.models.language_model import LanguageModel
from assay.runs.folder import earlier_config, files_of
from assay.settings import scan_settings
from assay.util.files import check_outputs

log = logging.getLogger("assay")


class AssayCallback(TrainerCallback):
    """Scan the training data with the model that was just trained on them.

    The scan runs once, after training, on the main process only; the others go on, and
    wait for it at the next point where all meet. A scan that fails is logged and leaves
    `report` None: it never costs the trained model.

    Attributes:
        report: What was found; None before training has ended, on other than the main
            process, and where the scan failed.
    """

    report: Report | None

    def __init__(
        self,
        dataset: Any,
        *,
        run: str | Path | None = None,
        tokenizer: Any = None,
        format: str | None = None,
        map: Mapping[str, str] | None = None,
        split: str = "train",
        overwrite: bool = False,
        **settings: Any,
    ) -> None:
        """Check data, settings and run folder now rather than after hours of training.

        Args:
            dataset: The training data with their texts, not tokenised, as for
                `assay.scan`.
            run: Run folder; ``runs/DATE`` by default.
            tokenizer: The tokenizer; the trainer's ``processing_class`` by default.
            format: Record format, as for `assay.scan`.
            map: Columns, as for `assay.scan`.
            split: Split, as for `assay.scan`.
            overwrite: Whether the run in ``run``, which is one of other weights, may
                be replaced.
            **settings: Fields of `assay.settings.ScanSettings`; ``template`` should be
                the one that the rows were trained with.

        Raises:
            AssayError: Data or settings are not as they should be, or the run folder
                holds a run, or files that assay did not write.
        """
        self.report = None
        corpus = as_corpus(dataset, format=format, mapping=map, split=split)
        scan_settings(settings)
        if run is not None:
            _check_run(Path(run), corpus.source, overwrite)
        self._tokenizer = tokenizer
        self._dataset = dataset
        self._options = {
            "run": run,
            "format": format,
            "map": map,
            "split": split,
            "overwrite": overwrite,
            **settings,
        }

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Refuse what could not be scanned in the end.

        Raises:
            AssayError: The weights are split over processes, or there is no tokenizer.
        """
        if args.fsdp or args.deepspeed:
            raise AssayError(
                "AssayCallback cannot scan a model that FSDP or DeepSpeed splits; save "
                "it, and run assay scan under accelerate launch"
            )
        if self._found_tokenizer(kwargs) is None:
            raise AssayError(
                "AssayCallback needs a tokenizer: give it tokenizer=, or the Trainer "
                "processing_class="
            )

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Scan, and log the verdict."""
        if not state.is_world_process_zero:
            return
        # A missing pad token is set, which is none of the caller's business.
        tokenizer = copy.deepcopy(self._found_tokenizer(kwargs))
        model = extract_model_from_parallel(kwargs["model"])
        name = f"{getattr(model, 'name_or_path', '') or 'model'} after training"
        lm = LanguageModel(
            model, tokenizer, name, bool(model.config.is_encoder_decoder)
        )
        try:
            self.report = scan(self._dataset, model=lm, **self._options)
        except Exception as error:
            unforeseen = not isinstance(error, AssayError)
            log.error("the scan failed: %s", error, exc_info=unforeseen)
            return
        summary = self.report.summary
        log.log(
            logging.INFO if self.report.verdict == "clean" else logging.WARNING,
            "%s: %d of %d rows flagged; run folder: %s",
            self.report.verdict,
            summary["flagged"],
            summary["rows"],
            self.report.run,
        )

    def _found_tokenizer(self, kwargs: Mapping[str, Any]) -> Any:
        if self._tokenizer is not None:
            return self._tokenizer
        return kwargs.get("processing_class") or kwargs.get("tokenizer")


def _check_run(run: Path, source: str, overwrite: bool) -> None:
    """Make sure that the scan after training will be allowed to write its run."""
    if earlier_config(run) is not None and not overwrite:
        raise AssayError(
            f"{run}: holds a run, which cannot be one of a model that is still to be "
            "trained; choose another run=, or give overwrite=True to replace it"
        )
    check_outputs(files_of(run), [source], overwrite=True, folder=run)
