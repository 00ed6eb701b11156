//! Finished profiles as bytes, one file a format.

/// Where bytes go. Errors are kept by the sink and asked for at the end.
pub trait Sink {
    /// Takes `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

pub mod escape;
pub mod folded;

/// Writes `number` in decimal.
pub fn put_number(number: u64, out: &mut dyn Sink) {
    out.put(crate::text::Decimal::new(number).bytes());
}
