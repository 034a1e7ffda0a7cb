"""Every reason for which a record of a gold file is repaired or refused: the one documented list.

A code is stable once published: manifests and tests name it.
"""

from __future__ import annotations

MAX_REFUSED = 0.05
"""Share of the boxes, and of the images, of a file that may be refused by default."""

REPAIRED: dict[str, str] = {
    "box_clipped": "the box reached more than 0.01 px out of the image and was cut to it",
    "corners_swapped": "the box's corners were swapped (xyxy only)",
    "number_form": "a class index, an id or a size was written as a float or as text, unlike its partner",
    "flag_form": "iscrowd or ignore was written as text, true or false or null instead of 0 or 1",
    "box_from_polygon": "the record has no box; it was made of the polygons' outermost points",
    "area_from_box": "the area is not a positive number; the box's own decides what is small and large",
    "id_repeated": "another annotation has the same id; both are kept",
    "span_moved": "the span began or ended inside a word and was moved by one or two characters, or to its phrase",
    "span_widened": "the span began or ended inside a word and was widened to it",
    "span_trimmed": "blanks at the span's ends, or an end behind the caption's, were cut off",
    "spans_split": "one box names several places of the caption; each became a phrase with that box",
    "span_ambiguous": "the phrase occurs in the caption more than once and has no span; the first free place was taken",
    "span_case": "the phrase occurs in the caption in other letters (case or blanks)",
    "score_in_phrase": "the score at the end of the phrase, '(0.52)', was cut off",
    "name_by_label": "the class name was missing and was taken from the label map",
    "scaled_to_stored": "the stored image has another size of the same shape; boxes were scaled to it",
    "turned_upright": "the boxes were in the frame before the EXIF turn and were turned with it",
    "found_by_name": "no image under the whole path or URL; the only one with its last part was taken",
    "size_from_image": "the record has no width and height; the image's own were taken",
    "size_unknown": "the record has no width and height, and no image was read; boxes were not cut to it",
    "caption_controls": "control characters of the caption became blanks (offsets stay)",
}

REFUSED: dict[str, str] = {
    "json_bad": "not a strict JSON object, too long or too deep",
    "field_missing": "a needed field is missing or of another type",
    "value_bad": "a field has NaN, infinity or a lone surrogate, which cannot be written",
    "id_twice": "an image with this id came before",
    "image_unknown": "the annotation names an image that is not in the file",
    "image_refused": "its image, caption or line was refused",
    "image_missing": (
        "no image under that name in --images; say where it is with a pattern (--images 'DIR/{stem}.jpg') or, for "
        "shards, with --key-map"
    ),
    "image_ambiguous": (
        "several images have this name, or another name found the same image; name the folder of the right one, or a "
        "pattern (--images 'DIR/{stem}.jpg'), or, for shards, --key-map"
    ),
    "image_outside": "a link out of the folder of --images; name the folder to which it leads",
    "image_bad": "the image cannot be decoded",
    "image_shape": "the stored image has another shape than the record says: a crop, a padded copy or another picture",
    "file_name_unsafe": (
        "a file name that leaves the folder of --images ('..') or that no file can have; a pattern "
        "(--images 'DIR/{stem}.jpg') takes its last part alone"
    ),
    "size_bad": "width or height is not a positive whole number",
    "category_unknown": "the annotation names a category that is not in the file or the label map",
    "category_differs": "class name and label map disagree",
    "category_special": "the class name has a mark such as [SEP] that text models read as their own",
    "category_missing": "no class name, and no label map to find it in",
    "box_not_numbers": "the box is not four finite numbers",
    "score_bad": "other boxes of the file have a score; this one has none from 0 to 1",
    "flag_bad": "iscrowd or ignore is neither 0 nor 1",
    "box_empty": "the box has no area, or none in the image",
    "box_negative": "the box has a negative width or height (xywh: ambiguous corner)",
    "caption_bad": "the caption is missing, empty, too long or not valid text",
    "no_span": "the box names no place of the caption",
    "span_outside": "the span is outside the caption or is empty",
    "span_wrong": "the span's text is not the phrase, and the phrase is not found in the caption",
    "phrase_not_in_caption": "the phrase does not occur in the caption",
    "phrase_missing": "the region names no phrase",
    "markup_bad": "the sentence's brackets do not match [/EN#ID/TYPE words]",
    "labels_missing": "the image has no file of labels; an empty one says that nothing is there",
    "labels_bad": "the file of labels is not UTF-8 text, or too long",
    "boxes_missing": "no Annotations/ID.xml for the sentences",
    "xml_bad": "not the XML of Flickr30k Entities, or with a document type",
    "caption_unrelated": "the caption is on the authors' list of captions of other images",
    "entity_unknown": "the box names a phrase chain that no sentence of its image has",
    "not_in_split": "the image is not on the list that --split names",
    "nothing_to_learn": "the record has neither a box nor a class known to be absent",
}
