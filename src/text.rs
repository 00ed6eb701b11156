//! Numbers as text and back, without `core::fmt`.

/// The decimal digits of a number.
pub struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    /// The digits of `number`.
    pub fn new(mut number: u64) -> Decimal {
        let mut decimal = Decimal { digits: [0; 20], start: 20 };
        for digit in decimal.digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            decimal.start -= 1;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        decimal
    }

    /// At least one digit, no leading zeros.
    pub fn bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// The number that `text` spells, if it is nothing but digits and fits.
pub fn decimal(text: &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        number = (digit < 10).then(|| number.checked_mul(10)?.checked_add(u64::from(digit))).flatten()?;
    }
    (!text.is_empty()).then_some(number)
}

/// The number that begins `text`, and what follows it.
pub fn leading_decimal(text: &[u8]) -> Option<(u64, &[u8])> {
    let (digits, rest) = split_digits(text);
    Some((decimal(digits)?, rest))
}

/// The digits that begin `text`, and what follows them.
pub fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or_default()
}

/// Where `byte` first is in `within`. One place that finds bytes, since memchr brings a copy of itself to each.
#[inline(never)]
pub fn find(byte: u8, within: &[u8]) -> Option<usize> {
    memchr::arch::all::memchr::One::new(byte).find(within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    #[test]
    fn numbers_survive_the_way_through_text() {
        for n in [0, 7, 10, 99, 1 << 32, u64::MAX - 1, u64::MAX] {
            assert_eq!(Decimal::new(n).bytes(), n.to_string().as_bytes());
            assert_eq!(decimal(Decimal::new(n).bytes()), Some(n));
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-1", "1 ", "0x10", "18446744073709551616", "99999999999999999999999"] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
        assert_eq!(leading_decimal(b"12abc"), Some((12, &b"abc"[..])));
        assert_eq!(leading_decimal(b"abc"), None);
    }
}
