"""Weights by name: what there is, where it lies on this machine, and fetching it."""

from inpaint.weights.catalogue import (
    FOLDER_VARIABLE,
    ModelEntry,
    PublishedFile,
    find_model,
    list_models,
    weights_folders,
)
from inpaint.weights.download import FetchCancelled
from inpaint.weights.store import cache_folder, check_model, fetch, find_file, find_model_file, locate, remove
