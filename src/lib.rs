//! nodebake
