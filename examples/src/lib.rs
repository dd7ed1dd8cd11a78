//! Programs that show and measure Varvel
