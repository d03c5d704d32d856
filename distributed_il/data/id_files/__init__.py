"""Files of ids as users write them: found, read, and looked up in the vocabularies of a dataset."""
