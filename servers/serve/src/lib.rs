//! One command line for every Varvel server
