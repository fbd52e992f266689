//! The arguments of opcodes, read from a slice.

/// Bytes that are read onwards.
#[derive(Clone, Debug)]
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

/// An argument, or what is wrong with it.
pub(super) type Argument<T> = Result<T, &'static str>;

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { bytes, at: 0 }
    }

    /// How much was read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'b [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(super) fn byte(&mut self) -> Argument<u8> {
        Ok(self.little(1)? as u8)
    }

    /// A number of `width` bytes (8 at most), the least significant first.
    pub(super) fn little(&mut self, width: usize) -> Argument<u64> {
        let bytes = self.take(width as u64)?;
        let number = bytes.iter().rev();
        Ok(number.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// As many bytes as the number of `width` bytes before them says.
    pub(super) fn counted(&mut self, width: usize) -> Argument<&'b [u8]> {
        let length = self.little(width)?;
        self.take(length)
    }

    /// The same with a length of four bytes that has a sign.
    pub(super) fn counted_signed(&mut self) -> Argument<&'b [u8]> {
        let length = self.little(4)?;
        if length > i32::MAX as u64 {
            return Err("a length is negative");
        }
        self.take(length)
    }

    /// The bytes up to the end of the line, which is read too.
    pub(super) fn line(&mut self) -> Argument<&'b [u8]> {
        let rest = self.rest();
        let end = rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or("a line does not end")?;
        self.at += end + 1;
        Ok(rest.get(..end).unwrap_or_default())
    }

    /// A line with a number in decimal digits.
    pub(super) fn decimal(&mut self) -> Argument<u64> {
        let digits = std::str::from_utf8(self.line()?).ok();
        let number = digits.and_then(|digits| digits.trim().parse().ok());
        number.ok_or("a number is none")
    }

    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: u64) -> Argument<&'b [u8]> {
        let taken = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest().get(..length));
        let taken = taken.ok_or("it ends too early")?;
        self.at += taken.len();
        Ok(taken)
    }
}
