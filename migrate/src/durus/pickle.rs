//! The one pickle that is written: a dictionary from OIDs to offsets.
//!
//! Durus unpickles the index of a FileStorage2 file with the default settings. The keys have to come
//! out as byte strings under Python 3 (and as plain strings under Python 2), which protocol 2 has no
//! opcode for: Python itself writes a call of `_codecs.encode(text, 'latin1')` instead, and so does
//! this. A Python 2 string would be decoded as ASCII and fail on bytes from 0x80 on.

use std::io::{self, Write};

use crate::pickle::opcode::{
    BINGET, BININT, BINPUT, BINUNICODE, EMPTY_DICT, LONG1, MARK, POP, PROTO, REDUCE, SETITEMS,
    STOP, TUPLE2,
};

/// Writes the pickle of {OID as 8 bytes: offset}.
#[derive(Debug)]
pub(super) struct OffsetsPickle<W> {
    out: W,
    in_batch: u32,
}

impl<W: Write> OffsetsPickle<W> {
    pub(super) fn begin(mut out: W) -> io::Result<OffsetsPickle<W>> {
        out.write_all(&[PROTO, 2])?;
        // Memo 0: the function. Memo 1: the name of the encoding.
        out.write_all(b"c_codecs\nencode\n")?;
        out.write_all(&[BINPUT, 0, POP])?;
        out.write_all(&[BINUNICODE, 6, 0, 0, 0])?;
        out.write_all(b"latin1")?;
        out.write_all(&[BINPUT, 1, POP, EMPTY_DICT])?;
        Ok(OffsetsPickle { out, in_batch: 0 })
    }

    pub(super) fn push(&mut self, oid: u64, offset: u64) -> io::Result<()> {
        if self.in_batch == 0 {
            self.out.write_all(&[MARK])?;
        }
        self.key(oid)?;
        self.number(offset)?;
        self.in_batch += 1;
        if self.in_batch == BATCH {
            self.out.write_all(&[SETITEMS])?;
            self.in_batch = 0;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        if self.in_batch > 0 {
            self.out.write_all(&[SETITEMS])?;
        }
        self.out.write_all(&[STOP])?;
        Ok(self.out)
    }

    fn key(&mut self, oid: u64) -> io::Result<()> {
        let text: String = oid.to_be_bytes().map(char::from).iter().collect();
        // Eight characters of at most two bytes each.
        let length = text.len() as u32;
        self.out.write_all(&[BINGET, 0, BINUNICODE])?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(text.as_bytes())?;
        self.out.write_all(&[BINGET, 1, TUPLE2, REDUCE])
    }

    fn number(&mut self, number: u64) -> io::Result<()> {
        if let Ok(small) = i32::try_from(number) {
            self.out.write_all(&[BININT])?;
            return self.out.write_all(&small.to_le_bytes());
        }
        // A ninth byte keeps the sign positive.
        self.out.write_all(&[LONG1, 9])?;
        self.out.write_all(&number.to_le_bytes())?;
        self.out.write_all(&[0])
    }
}

/// How many items are on the unpickler's stack at most.
const BATCH: u32 = 1000;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn pickled(pairs: impl IntoIterator<Item = (u64, u64)>) -> Vec<u8> {
        let mut pickle = OffsetsPickle::begin(Vec::new()).unwrap();
        for (oid, offset) in pairs {
            pickle.push(oid, offset).unwrap();
        }
        pickle.finish().unwrap()
    }

    /// Offsets around the borders of the number opcodes, which only huge files have, and more items
    /// than go into one batch: Python itself has to find them.
    #[test]
    fn python_unpickles_what_was_pickled() {
        let Some(python) = durum_testkit::durus_python() else {
            return;
        };
        let offsets = [0, 255, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 40, u64::MAX];
        for count in [0, 1, 7, 999, 1000, 1001, 2500] {
            let pairs = (0..count).map(|n| (n * 0x0100_0193, offsets[n as usize % 7] ^ (n / 7)));
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), pickled(pairs.clone())).unwrap();
            let script = "import pickle, sys\n\
                for key, value in pickle.load(open(sys.argv[1], 'rb')).items():\n\
                \x20   assert type(key) is bytes and len(key) == 8\n\
                \x20   print(int.from_bytes(key, 'big'), value)";
            let output = Command::new(&python)
                .args(["-c", script])
                .arg(file.path())
                .output()
                .unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let expected: String = pairs.map(|(oid, at)| format!("{oid} {at}\n")).collect();
            assert!(output.status.success() && said == expected, "{count} items");
        }
    }
}
