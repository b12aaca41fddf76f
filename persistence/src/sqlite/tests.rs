//! Cases of the embedded adapter alone.
