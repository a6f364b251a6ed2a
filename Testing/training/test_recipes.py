"""Every recipe's settings in numbers, as the released codes and the papers have them."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from ThickToThinSRLib.networks.registry import build
from training.recipes import NAMES, find_recipe

# TVSRN's released code: Adam's and 1e-4 of its paper are another matter.
TVSRN = {
    "crop": 256,
    "batch": 1,
    "steps": 0,
    "epochs": 2000,
    "crops_per_case": 1,
    "fixed_crop": False,
    "flip": 0.0,
    "optimizer": "adamw",
    "learning_rate": 3e-4,
    "weight_decay": 1e-4,
    "loss": "l1",
    "clip_norm": 0.0,
    "average": 0.0,
    "plateau_on": "validation",
    "patience": 15,
    "drop_factor": 0.1,
    "most_drops": 4,
    "most_idle_epochs": 200,
    "validate_every": 5,
    "validate_below": 0.012,
    "validation_crop": 256,
    "stage_one": 0.0,
    "precision": "auto",
    "gradient_checkpointing": False,
    "seed": 0,
}
# The four baselines: Adam with 1e-4, as their papers and that of RPLHR-CT say, the rest on TVSRN's footing.
BASELINE = {**TVSRN, "optimizer": "adam", "learning_rate": 1e-4, "weight_decay": 0.0}
SETTINGS = {
    "interpolation": TVSRN,  # nothing is trained
    "tvsrn": TVSRN,
    "tvsrn_mask_tokens": TVSRN,
    "tvsrn_vit": TVSRN,
    "tvsrn_encoder_only": TVSRN,
    "tvsrn_without_tab": TVSRN,
    "cthnet": {
        **TVSRN,
        "epochs": 3000,
        "flip": 0.2,
        "plateau_on": "training",
        "patience": 6,
        "most_idle_epochs": 3000,
        "validate_below": 0.01,
        "gradient_checkpointing": True,
    },
    "saint": {**BASELINE, "crop": 64, "stage_one": 0.5, "gradient_checkpointing": True},
    "resvox": BASELINE,
    "mpunet": BASELINE,
    "davsr": {**BASELINE, "validate_below": 0.024},  # its loss is the sum of two
    "sr4zct": TVSRN,  # adapts to a scan, by settings of its own
}
# Method, network and its arguments.
SYSTEMS = {
    "interpolation": ("interpolation", None, {}),
    "tvsrn": ("tvsrn", "tvsrn", {}),
    "tvsrn_mask_tokens": ("tvsrn", "tvsrn", {"learned_mask_tokens": True}),
    "tvsrn_vit": ("tvsrn", "tvsrn", {"variant": "vit_encoder"}),
    "tvsrn_encoder_only": (
        "tvsrn",
        "tvsrn",
        {"variant": "encoder_only", "encoder_blocks": 8, "channels": 32},
    ),
    "tvsrn_without_tab": ("tvsrn", "tvsrn", {"variant": "without_tab"}),
    "cthnet": ("cthnet", "cthnet", {}),
    "saint": (
        "saint",
        "saint",
        {"factor": 5, "depth": 8, "thin_spacing": 1.0, "row_spacing": 0.75, "column_spacing": 0.75},
    ),
    "resvox": ("resvox", "resvox", {}),
    "mpunet": ("mpunet", "mpunet", {}),
    "davsr": ("davsr", "davsr", {}),
    "sr4zct": ("sr4zct", None, {}),
}
# PSNR and SSIM over the 100 test cases, as the paper's tables have them; it prints no others' as numbers.
PUBLISHED = {
    "tvsrn": "38.609 +- 1.721 / 0.936 +- 0.024",
    "tvsrn_mask_tokens": "38.609 +- 1.721 / 0.936 +- 0.024",  # what the paper describes
    "tvsrn_without_tab": "38.497 / 0.935",
    "tvsrn_encoder_only": "38.364 / 0.934",
    "tvsrn_vit": "35.537 / 0.918",
}
# The paper's counts; those of the released code differ.
PARAMETERS = {
    "tvsrn": "1.73 M",
    "tvsrn_mask_tokens": "1.73 M",
    "tvsrn_without_tab": "1.56 M",
    "tvsrn_encoder_only": "1.58 M",
    "tvsrn_vit": "17.15 M",
}


def test_these_are_all_recipes():
    assert set(NAMES) == SETTINGS.keys() == SYSTEMS.keys()
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_recipes_settings_are_the_released_ones(name):
    settings = asdict(find_recipe(name).settings)
    for of_the_machine in ("workers", "save_seconds"):
        settings.pop(of_the_machine)
    assert settings == SETTINGS[name]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_recipe_names_its_system_and_what_its_paper_says_of_it(name):
    recipe = find_recipe(name)
    assert recipe.name == name
    assert (recipe.method, recipe.network, recipe.arguments) == SYSTEMS[name]
    assert recipe.published == PUBLISHED.get(name, "")
    assert recipe.parameters == PARAMETERS.get(name, "")


@pytest.mark.parametrize("name", ["tvsrn", "cthnet", "saint"])
def test_the_number_of_weights_is_that_of_the_released_code(name):
    recipe = find_recipe(name)
    with torch.device("meta"):
        count = sum(weight.numel() for weight in build(recipe.network, **recipe.arguments).parameters())
    assert count == {"tvsrn": 2_387_489, "cthnet": 10_606_217, "saint": 3_158_817}[name]
