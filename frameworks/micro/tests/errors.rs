//! What the compiler says of mistakes.

#[test]
fn compile_errors_say_what_is_wrong() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
