"""A project of a data scientist: functions that return models, each fitted to the same made-up measurements."""

from __future__ import annotations

from typing import Any

import numpy as np

FEATURES = 6
WORDS = np.array(["cat", "dog", "eel"])


def rows(count: int = 400, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, FEATURES)).astype(np.float32)


def two(x: np.ndarray) -> np.ndarray:
    return (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(np.int64)


def three(x: np.ndarray) -> np.ndarray:
    return np.digitize(x[:, 0] + 0.3 * x[:, 3], [-0.5, 0.5])


def amount(x: np.ndarray) -> np.ndarray:
    return np.asarray(x @ np.arange(FEATURES) + x[:, 0] ** 2, np.float64)


def forest_of_two() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(20, random_state=0).fit(rows(), two(rows()))


def forest_of_words() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(20, random_state=0).fit(rows(), WORDS[three(rows())])


def forest_of_amounts() -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(20, random_state=0).fit(rows(), amount(rows())), rows(20)


def boosted_by_histogram() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    x = rows()
    x[::5, 1] = np.nan
    return HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(x, three(rows()))


def pipeline() -> Any:
    from sklearn.decomposition import PCA
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler

    steps = (SimpleImputer(), StandardScaler(), PCA(4, random_state=0), Normalizer(), LogisticRegression())
    return make_pipeline(*steps).fit(rows(), WORDS[three(rows())])


def pipeline_by_names() -> Any:
    import pandas
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, OneHotEncoder

    table = pandas.DataFrame(rows(), columns=[f"field {i}" for i in range(FEATURES)])
    table["field 5"] = np.digitize(table["field 5"], [-0.5, 0.5])
    parts = [
        ("numbers", make_pipeline(SimpleImputer(), MinMaxScaler()), ["field 0", "field 1", "field 3"]),
        ("kinds", OneHotEncoder(handle_unknown="ignore"), ["field 5"]),
    ]
    model = make_pipeline(ColumnTransformer(parts), RandomForestClassifier(20, random_state=0))
    return model.fit(table, three(rows())), table


def network() -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((8,), max_iter=50, random_state=0).fit(rows(), WORDS[three(rows())])


def line() -> Any:
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit(rows(), amount(rows()))


def margins() -> Any:
    from sklearn.svm import LinearSVC

    return LinearSVC(random_state=0).fit(rows(), two(rows()))


def xgboost_of_three() -> Any:
    import xgboost

    return xgboost.XGBClassifier(n_estimators=20, max_depth=4).fit(rows(), three(rows()))


def xgboost_of_amounts() -> Any:
    import xgboost

    return xgboost.XGBRegressor(n_estimators=20, max_depth=4).fit(rows(), amount(rows()))


def xgboost_with_names() -> Any:
    import xgboost

    matrix = xgboost.DMatrix(rows(), two(rows()), feature_names=list("abcdef"))
    return xgboost.train({"objective": "binary:logistic", "max_depth": 4}, matrix, 20)


def xgboost_in_a_pipeline() -> Any:
    import xgboost
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), xgboost.XGBClassifier(n_estimators=10))
    return model.fit(rows(), three(rows())), rows()


def xgboost_of_lines() -> Any:
    import xgboost

    return xgboost.train({"booster": "gblinear"}, xgboost.DMatrix(rows(), amount(rows())), 5)


def lightgbm_of_words() -> Any:
    import lightgbm

    return lightgbm.LGBMClassifier(n_estimators=20, verbose=-1).fit(rows(), WORDS[three(rows())])


def lightgbm_of_odd_classes() -> Any:
    import lightgbm

    return lightgbm.LGBMClassifier(n_estimators=20, verbose=-1).fit(rows(), 3 + 2 * two(rows()))


def lightgbm_of_amounts() -> Any:
    import lightgbm

    x = rows()
    x[::5, 1] = np.nan
    return lightgbm.train({"objective": "regression", "verbose": -1}, lightgbm.Dataset(x, amount(rows())), 20)


def lightgbm_of_means() -> Any:
    """A random forest of LightGBM, whose trees are averaged: onnxmltools adds them up."""
    import lightgbm

    made = lightgbm.LGBMClassifier(
        boosting_type="rf", subsample=0.5, subsample_freq=1, n_estimators=20, random_state=0, verbose=-1
    )
    return made.fit(rows(), two(rows()))


def picture_net() -> Any:
    import torch

    torch.manual_seed(0)

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
            self.norm = torch.nn.BatchNorm2d(8)
            self.drop = torch.nn.Dropout(0.5)
            self.head = torch.nn.Linear(8, 5)

        def forward(self, image: Any) -> Any:
            found = torch.relu(self.norm(self.conv(image)))
            return self.head(self.drop(found.mean((2, 3))))

    return Net(), torch.randn(2, 3, 16, 16)


def picture_program() -> Any:
    import torch

    net, image = picture_net()
    return torch.export.export(net.eval(), (image[:1],))


def word_net() -> Any:
    """Two inputs by name, of which one holds indices, and two outputs by name."""
    import torch

    torch.manual_seed(0)

    class Words(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(50, 8)
            self.head = torch.nn.Linear(8, 4)

        def forward(self, ids: Any, mask: Any) -> Any:
            vector = (self.table(ids) * mask[..., None]).mean(1)
            return {"vector": vector, "scores": torch.softmax(self.head(vector), -1)}

    return Words(), {"ids": torch.randint(0, 50, (1, 12)), "mask": torch.ones(1, 12)}


def not_fitted() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier()


def xgboost_not_fitted() -> Any:
    import xgboost

    return xgboost.XGBClassifier()


def lightgbm_not_fitted() -> Any:
    import lightgbm

    return lightgbm.LGBMRegressor()


def net_without_example() -> Any:
    return picture_net()[0]


def net_without_batch() -> Any:
    import torch

    class Total(torch.nn.Module):
        def forward(self, image: Any) -> Any:
            return image.sum()

    return Total(), torch.randn(1, 3)


def with_words_for_numbers() -> Any:
    return forest_of_two(), [["a", "b", "c", "d", "e", "f"]]


def with_too_few_features() -> Any:
    return forest_of_two(), rows(3)[:, :2]


def nothing() -> Any:
    return None


def fails() -> Any:
    measurements: dict[str, Any] = {}
    return measurements["no such measurement"]


def leaves() -> Any:
    raise SystemExit(7)


def asks(_how_many: int) -> Any:
    return None


def crashes() -> Any:
    import os

    os.abort()


def takes_long() -> Any:
    import time

    time.sleep(60)


def lacks_a_library() -> Any:
    import catboost  # type: ignore[import-not-found]

    return catboost


def an_onnx_model() -> Any:
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
