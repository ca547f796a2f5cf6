//! (place in the pipeline)
