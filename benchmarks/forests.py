"""Decision forests that libraries fitted, on batches of rows: ours beside ONNX Runtime, one thread, taken in turns.

`python -m benchmarks.forests` writes benchmarks/results/forests-MACHINE.json. These are libraries
of the compiler alone, without an artefact around them. The data is made up: 5,000 rows of 20 features, 3 classes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.compile import RESULTS, result_file, write_result
from benchmarks.exact import error
from benchmarks.peers import Side, alternate
from compiler.frontends import frontend_of
from compiler.host import host
from compiler.importer import import_model
from compiler.job import versions
from compiler.lower import lower
from compiler.model import prepare

BATCHES = (1, 16, 256)


def forests() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names, and what fits each."""
    import lightgbm
    import xgboost
    from sklearn.datasets import make_classification
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor

    x, y = make_classification(5000, 20, n_informative=10, n_classes=3, random_state=0)
    x, two = x.astype(np.float32), (y > 0).astype(int)
    for trees, depth in ((10, 4), (100, 6), (500, 8), (100, None)):
        what = f"{trees} trees, depth {depth or 'free'}"
        regressor = RandomForestRegressor(trees, max_depth=depth, random_state=0)
        yield f"regression, {what}", partial(regressor.fit, x, x[:, 0] + y)
        classifier = RandomForestClassifier(trees, max_depth=depth, random_state=0)
        yield f"3 classes, {what}", partial(classifier.fit, x, y)
    boosted = {
        "HistGradientBoosting, 100 x 31 leaves, 3 classes": (HistGradientBoostingClassifier(random_state=0), y),
        "XGBoost, 100 x depth 6, 3 classes": (xgboost.XGBClassifier(n_estimators=100, max_depth=6), y),
        "LightGBM, 100 x 31 leaves, 2 classes": (lightgbm.LGBMClassifier(n_estimators=100, verbose=-1), two),
    }
    yield from ((name, partial(model.fit, x, target)) for name, (model, target) in boosted.items())


def measure(name: str, model: onnx.ModelProto, batch: int, folder: Path) -> dict[str, Any]:
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    ours, theirs = folder / "forest.so", folder / "forest.onnx"
    onnx.save(fixed, str(theirs))
    module = import_model(prepare(fixed, {}, name), name)
    lower(module, host().target, 1).executable.export_library(str(ours))
    sample = {"x": np.random.default_rng(0).standard_normal((batch, 20)).astype(np.float32)}
    timings = alternate([Side("tvm", "library", ours), Side("onnxruntime", "onnx", theirs)], sample, 1)
    mine, peer = timings["tvm"], timings["onnxruntime"]
    ratios = [a / b for a, b in zip(mine.blocks, peer.blocks, strict=True)]
    floats = {key: value.astype(np.float64) for key, value in peer.outputs.items() if value.dtype.kind == "f"}
    return {
        "case": f"{name}, {batch} row{'s' if batch > 1 else ''}",
        "metric": "ms",
        "ours": round(mine.median * 1e3, 4),
        "peer_name": "onnxruntime",
        "peer": round(peer.median * 1e3, 4),
        "ratio": round(statistics.median(ratios), 3),
        "spread": round((max(ratios) - min(ratios)) / 2, 3),
        "runs": mine.runs + peer.runs,
        "difference": float(f"{error({key: mine.outputs[key] for key in floats}, floats):.2g}"),
        "compiler": versions("tvm")["compiler"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / result_file().name.replace("compile", "forests"))
    arguments = parser.parse_args()
    for name, fit in ((name, fit) for name, fit in forests() if arguments.only in name):
        fitted = fit()
        model = frontend_of(fitted).convert(fitted, None).model
        for batch in arguments.batches:
            with tempfile.TemporaryDirectory(prefix="tierplan-") as folder:
                row = measure(name, model, batch, Path(folder))
            write_result(arguments.output, [row])
            print(f"{row['case']:56} {row['ours']:8.3f} ms  {row['peer']:8.3f} ms  {row['ratio']:.2f}", file=sys.stderr)
    print(arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
