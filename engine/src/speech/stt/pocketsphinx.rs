//! pocketsphinx, loaded at run time.
