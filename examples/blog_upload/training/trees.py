"""The boosted trees that decide from vision's score and the caption's vector, and how they are written to ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier

from blog.text import tokens
from data.captions import KINDS, fill, templates
from data.policy import MARKS, VERDICTS, verdict
from data.splits import Split

SEED: Final = 13
FILLS: Final = 12
"""Captions made from each template."""

CAPTIONS_A_PICTURE: Final = 6
ROUNDS: Final = 100
VECTOR: Final = 384


@dataclass(frozen=True)
class Examples:
    """What the trees learn from: inputs f32[N,388] (score, then vector) and verdicts i64[N]."""

    inputs: NDArray[np.float32]
    verdicts: NDArray[np.int64]


def caption_vectors(language: onnxruntime.InferenceSession) -> list[NDArray[np.float32]]:
    """For each kind of caption the vectors f32[N,384] of filled-in templates of the split DECIDE."""
    rng = np.random.default_rng(SEED)
    kinds = []
    for kind in range(len(KINDS)):
        captions = [fill(t, rng) for t in templates(kind, Split.DECIDE) for _ in range(FILLS)]
        kinds.append(np.concatenate([language.run(["vector"], {"ids": tokens(c)["ids"][None]})[0] for c in captions]))
    return kinds


def examples(
    scores: NDArray[np.float32],
    sure: NDArray[np.bool_],
    marks: NDArray[np.int64],
    vectors: list[NDArray[np.float32]],
    seed: int,
) -> Examples:
    """Pictures joined with captions: none (zeros) where vision was sure, else several each."""
    rng = np.random.default_rng(seed)
    inputs, verdicts = [], []
    for score, is_sure, mark in zip(scores, sure, marks, strict=True):
        for _ in range(1 if is_sure else CAPTIONS_A_PICTURE):
            kind = int(rng.integers(len(KINDS)))
            choices = vectors[kind]
            vector = np.zeros(VECTOR, np.float32) if is_sure else choices[int(rng.integers(len(choices)))]
            inputs.append(np.concatenate([score, vector]))
            verdicts.append(verdict(int(mark), kind))
    return Examples(np.stack(inputs).astype(np.float32), np.array(verdicts, np.int64))


def train(given: Examples) -> HistGradientBoostingClassifier:
    """Boost `ROUNDS` rounds of one tree for each verdict."""
    return HistGradientBoostingClassifier(
        max_iter=ROUNDS,
        learning_rate=0.12,
        max_leaf_nodes=16,
        max_features=0.5,
        min_samples_leaf=40,
        l2_regularization=5,
        early_stopping=False,
        random_state=SEED,
    ).fit(given.inputs, given.verdicts)


def to_onnx(model: HistGradientBoostingClassifier) -> onnx.ModelProto:
    """Write the trees as ONNX: score f32[1,4] and vector f32[1,384] to verdict i64[1,1]."""
    nodes: dict[str, list[Any]] = {
        key: []
        for key in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids", "hitrates")
    }
    leaves: dict[str, list[Any]] = {key: [] for key in ("treeids", "nodeids", "ids", "weights")}
    trees = [(verdict, tree) for rounds in model._predictors for verdict, tree in enumerate(rounds)]
    for number, (verdict_number, tree) in enumerate(trees):
        for place, node in enumerate(tree.nodes):
            leaf = bool(node["is_leaf"])
            for key, value in (
                ("treeids", number),
                ("nodeids", place),
                ("featureids", 0 if leaf else int(node["feature_idx"])),
                ("values", 0.0 if leaf else _below(node["num_threshold"])),
                ("modes", "LEAF" if leaf else "BRANCH_LEQ"),
                ("truenodeids", 0 if leaf else int(node["left"])),
                ("falsenodeids", 0 if leaf else int(node["right"])),
                ("hitrates", 1.0),
            ):
                nodes[key].append(value)
            if leaf:
                for key, value in (
                    ("treeids", number),
                    ("nodeids", place),
                    ("ids", verdict_number),
                    ("weights", float(node["value"])),
                ):
                    leaves[key].append(value)
    trees_as_tables: dict[str, Any] = {f"nodes_{key}": value for key, value in nodes.items()}
    trees_as_tables |= {f"class_{key}": value for key, value in leaves.items()}
    graph = helper.make_graph(
        [
            helper.make_node("Concat", ["score", "vector"], ["both"], axis=1),
            helper.make_node(
                "TreeEnsembleClassifier",
                ["both"],
                ["label", "probabilities"],
                domain="ai.onnx.ml",
                base_values=[float(v) for v in model._baseline_prediction.ravel()],
                classlabels_int64s=list(range(len(VERDICTS))),
                post_transform="SOFTMAX",
                **trees_as_tables,
            ),
            helper.make_node("Reshape", ["label", "column"], ["verdict"]),
        ],
        "decide",
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, len(MARKS)]),
            helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, VECTOR]),
        ],
        [helper.make_tensor_value_info("verdict", TensorProto.INT64, [1, 1])],
        [numpy_helper.from_array(np.array([1, 1], np.int64), "column")],
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8
    )
    made.producer_name = "tierplan examples/blog_upload"
    onnx.checker.check_model(made, full_check=True)
    return made


def _below(threshold: float) -> float:
    """The largest f32 that is not above `threshold`: an f32 is <= one exactly when it is <= the other."""
    rounded = np.float32(threshold)
    return float(rounded if rounded <= threshold else np.nextafter(rounded, np.float32(-np.inf)))
