"""Image files in and out: the only place that knows formats, colour modes, bit depths and (width, height).

``read_file`` and ``write_file`` keep what a file holds, and tell in notes of one line each what they could
not keep. ``read_image`` and ``write_image`` are for plain 8-bit Pillow images.
"""

from inpaint.images.file import ImageFile
from inpaint.images.formats import MAX_PIXELS, READABLE_SUFFIXES, WRITABLE_FORMATS
from inpaint.images.masks import COMPRESSION_NOISE, HOLE, has_hole, hole_from_mask, mask_from_image
from inpaint.images.modes import image_to_tensor, tensor_to_image
from inpaint.images.read import plain_image, read_file, read_image, read_mask, read_masks
from inpaint.images.write import write_file, write_image
