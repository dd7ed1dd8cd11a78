//! What every Varvel server needs and no application sees
