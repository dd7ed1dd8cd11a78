//! An evented Varvel server: one mio event loop per core
