//! temporary
/// t
pub struct Concealer;
impl Concealer {
    /// t
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self { Self }
    /// t
    pub fn good(&mut self, _: &mut [i16]) -> bool { false }
    /// t
    pub fn lost(&mut self, out: &mut [i16]) { out.fill(0); }
}
