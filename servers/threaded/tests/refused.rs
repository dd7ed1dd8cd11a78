//! Applications that this server cannot run are refused by the compiler, in words that name the reason.

#[test]
fn an_application_that_threads_cannot_share() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
