"""What `/v1/features` tells: models, features, bounds."""

from __future__ import annotations

from typing import Any

from mmsearch.scoring import feature_definitions
from serving.service.grades import Grades
from serving.service.models import Model, Models
from serving.service.recall import default_space
from serving.service.settings import ServeSettings


def catalogue(settings: ServeSettings, models: Models, grades: Grades | None) -> dict[str, Any]:
    """Give the models as they are served now, the bounds of requests, and which queries have grades."""
    limits = {name: getattr(settings, name) for name in ("max_query_chars", "max_doc_ids", "max_k")}
    told = grades and {
        "num_queries": grades.num_queries,
        "max_grade": grades.max_grade,
        "examples": grades.examples,
    }
    described = [_described(model) for model in models.by_name.values()]
    return {"default_model": settings.default_model, "models": described, "limits": limits, "judgments": told}


def _described(model: Model) -> dict[str, Any]:
    scorer = model.scorer
    definitions = feature_definitions(scorer)
    spaces = [
        {"name": s.name, "dim": s.dim, "num_codes": s.num_codes, "fingerprint": s.fingerprint}
        for s in scorer.index.spaces
    ]
    features = [
        {"name": name, "definition": definitions[name], "derived": name not in scorer.spaces} for name in scorer.names
    ]
    return {
        "name": model.name,
        "generation": scorer.index.generation,
        "num_docs": scorer.index.num_docs,
        "default_space": default_space(scorer),
        "recall": model.settings.recall,
        "has_corpus": model.shelf is not None,
        "spaces": spaces,
        "features": features,
        "reload_error": model.live.error,
    }
