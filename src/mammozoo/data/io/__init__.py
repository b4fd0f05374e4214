"""Files on disk → arrays: images, DICOM, masks and boxes."""
