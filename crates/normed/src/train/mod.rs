//! The step, the run, evaluation, checkpoints.
