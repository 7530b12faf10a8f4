"""Image files in and out: the only place that knows formats, colour modes, bit depths and (width, height).

``read_file`` and ``write_file`` keep what a file holds, and tell in notes of one line each what they could
not keep. ``read_image`` and ``write_image`` are for plain 8-bit Pillow images.
"""

from inpaint.images.file import ImageFile as ImageFile
from inpaint.images.formats import MAX_PIXELS as MAX_PIXELS
from inpaint.images.formats import READABLE_SUFFIXES as READABLE_SUFFIXES
from inpaint.images.formats import WRITABLE_FORMATS as WRITABLE_FORMATS
from inpaint.images.masks import COMPRESSION_NOISE as COMPRESSION_NOISE
from inpaint.images.masks import HOLE as HOLE
from inpaint.images.masks import hole_from_mask as hole_from_mask
from inpaint.images.masks import mask_from_image as mask_from_image
from inpaint.images.modes import image_to_tensor as image_to_tensor
from inpaint.images.modes import tensor_to_image as tensor_to_image
from inpaint.images.read import plain_image as plain_image
from inpaint.images.read import read_file as read_file
from inpaint.images.read import read_image as read_image
from inpaint.images.read import read_mask as read_mask
from inpaint.images.read import read_masks as read_masks
from inpaint.images.write import write_file as write_file
from inpaint.images.write import write_image as write_image
