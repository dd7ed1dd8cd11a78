//! The clauses that no rule is for, and why.

use varvel_spec::{Clause, ids};

/// Clauses of chapters A and M without a rule, each with the reason.
pub const UNRULED: &[(&Clause, &str)] =
    &[(ids::M7, "held by the compiler, where a test says `assert_as_mobile!`")];
