"""What the panel says about each method, in the user's language.

The library describes its methods in English only, and tools for translation find only texts that are written
out. A test compares the lines here with those of the library; the library's stands in for a missing one.
"""

from slicer.i18n import tr as _

from ThickToThinSRLib.methods.registry import METHODS


def purpose(name):
    """What a method is for, in a few words: the tooltips of the list."""
    return {
        "universal": _("recommended: any spacing and overlap"),
        "consistent": _("recommended without PyTorch: sharper than interpolation"),
        "sr4zct": _("published: can adapt to the scan"),
        "tvsrn": _("published: 5 mm slices to 1 mm"),
        "cthnet": _("published: 5 mm slices to 1 mm"),
        "saint": _("published: whole factors"),
        "resvox": _("published: fixed factor"),
        "mpunet": _("published: fixed factor"),
        "davsr": _("published: adapts to the scan"),
        "interpolation": _("for comparison: cubic interpolation"),
    }.get(name, "")


def description(name):
    """What a method does, in one line: in English, the library's own line."""
    ours = _("its weights come with the program: a training of this project, not the published one")
    published = {
        "tvsrn": _("TVSRN, transformer of the RPLHR-CT paper, for 5 mm slices"),
        "cthnet": _("CTH-Net, a network of transformer and three-dimensional convolutions, for 5 mm slices"),
        "saint": _("SAINT, interpolation of sagittal and coronal planes and fusion, any whole factor"),
        "resvox": _("ResVox, a residual voxel network, for 5 mm slices"),
        "mpunet": _("MPU-Net, progressive upsampling, for 5 mm slices"),
        "davsr": _("DA-VSR, which adapts to the scan before it predicts, for 5 mm slices"),
    }
    others = {
        "interpolation": _(
            "cubic B-spline interpolation between the slices, for comparison; needs no weights"
        ),
        "consistent": _(
            "the smoothest volume whose averages over the slice thickness are the input: sharper than "
            "interpolation, above all if slices overlap; needs no weights"
        ),
        "universal": _(
            "a network that corrects the consistent interpolation, for any spacing and overlap; its weights "
            "come with the program"
        ),
        "sr4zct": _(
            "SR4ZCT: a network corrects coronal and sagittal planes, for any spacing and overlap; its "
            "weights come with the program, and it can adapt to the scan"
        ),
    }
    if name in published:
        return f"{published[name]}; {ours}"
    return others.get(name, METHODS[name].description)
