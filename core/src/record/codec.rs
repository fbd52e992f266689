//! Compression of the data of records.
//!
//! Every record says which codec it used, so that records of different codecs lie side by side in
//! one store and all stay readable when the setting is changed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, PoisonError, RwLock};

use zstd::zstd_safe::{self, CCtx, CDict, DCtx, DDict};

use super::varint;
use crate::error::{Error, ErrorKind, Result};

/// A way to compress the data of a record.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// Stored as it is.
    #[default]
    None,
    /// zlib (RFC 1950).
    Zlib,
    /// Zstandard (RFC 8878).
    Zstd,
    /// Zstandard with a dictionary that was trained on the store's own objects, since small objects
    /// compress badly alone. Until there is a dictionary it works as [`Codec::Zstd`].
    ZstdDict,
}

impl Codec {
    /// All codecs, by the names that configurations and URLs use.
    pub const NAMES: [(&'static str, Codec); 4] = [
        ("none", Codec::None),
        ("zlib", Codec::Zlib),
        ("zstd", Codec::Zstd),
        ("zstd-dict", Codec::ZstdDict),
    ];

    /// Its name in configurations and URLs.
    pub fn name(self) -> &'static str {
        let found = Codec::NAMES.into_iter().find(|(_, codec)| *codec == self);
        found.map_or("", |(name, _)| name)
    }

    /// The codec of this name.
    pub fn from_name(name: &str) -> Option<Codec> {
        let found = Codec::NAMES.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, codec)| codec)
    }

    /// Its number in records and in the protocol of the server.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The codec of a [`Codec::number`].
    pub fn from_number(number: u8) -> Option<Codec> {
        Codec::NAMES
            .into_iter()
            .map(|(_, codec)| codec)
            .find(|codec| codec.number() == number)
    }
}

/// The data of a record as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    codec: Codec,
    dictionary: u64,
    length: u64,
    bytes: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Data that is stored as it is.
    pub fn plain(data: &'a [u8]) -> Payload<'a> {
        Payload {
            codec: Codec::None,
            dictionary: 0,
            length: data.len() as u64,
            bytes: data,
        }
    }

    /// The codec of the stored bytes.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The number of the dictionary that it takes to decompress the bytes.
    pub fn dictionary(&self) -> Option<u64> {
        (self.codec == Codec::ZstdDict).then_some(self.dictionary)
    }

    /// The length of the data in bytes when it is decompressed.
    pub fn data_length(&self) -> u64 {
        self.length
    }

    /// The length of the bytes as they are stored.
    pub fn stored_length(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes as they are stored.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The same payload where its stored bytes lie somewhere else.
    pub fn over<'b>(&self, bytes: &'b [u8]) -> Payload<'b> {
        Payload { bytes, ..*self }
    }

    /// The data itself, where it is stored uncompressed.
    pub fn as_plain(&self) -> Option<&'a [u8]> {
        (self.codec == Codec::None).then_some(self.bytes)
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        if self.codec == Codec::ZstdDict {
            varint::put(out, self.dictionary);
        }
        if self.codec != Codec::None {
            varint::put(out, self.length);
        }
        out.extend_from_slice(self.bytes);
    }

    pub(super) fn take(codec: Codec, mut bytes: &'a [u8]) -> Option<Payload<'a>> {
        let dictionary = if codec == Codec::ZstdDict {
            varint::take(&mut bytes)?
        } else {
            0
        };
        let length = match codec {
            Codec::None => bytes.len() as u64,
            _ => varint::take(&mut bytes)?,
        };
        Some(Payload {
            codec,
            dictionary,
            length,
            bytes,
        })
    }
}

/// zlib's and Zstandard's levels: the defaults of both, a balance of speed and size.
const ZLIB_LEVEL: flate2::Compression = flate2::Compression::new(6);
const ZSTD_LEVEL: i32 = 3;
/// Data shorter than this is stored plain at once: headers would eat what a codec saves.
const LENGTH_MIN: usize = 32;
/// What a dictionary may hold; Zstandard's documentation recommends about 100 KiB.
const DICTIONARY_BYTES_MAX: usize = 100 << 10;

thread_local! {
    // Contexts are large and slow to set up; each thread keeps one of each.
    static COMPRESSOR: RefCell<CCtx<'static>> = RefCell::new(CCtx::create());
    static DECOMPRESSOR: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

struct Dictionary {
    number: u64,
    bytes: Vec<u8>,
    encoder: CDict<'static>,
    decoder: DDict<'static>,
}

/// Compresses and decompresses, with the dictionaries of one store.
#[derive(Default)]
pub struct Codecs {
    dictionaries: RwLock<BTreeMap<u64, Arc<Dictionary>>>,
}

impl fmt::Debug for Codecs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Codecs")
            .field("newest_dictionary", &self.newest_dictionary())
            .finish()
    }
}

impl Codecs {
    /// Compresses `data` into `buffer` (which it clears) or, where that does not make it smaller,
    /// leaves it plain.
    ///
    /// # Errors
    /// `Other` where the codec's library fails, which it does only for lack of memory.
    pub fn compress<'a>(
        &self,
        codec: Codec,
        data: &'a [u8],
        buffer: &'a mut Vec<u8>,
    ) -> Result<Payload<'a>> {
        if codec == Codec::None || data.len() < LENGTH_MIN {
            return Ok(Payload::plain(data));
        }
        buffer.clear();
        let dictionary = (codec == Codec::ZstdDict).then(|| self.newest()).flatten();
        let codec = match codec {
            Codec::ZstdDict if dictionary.is_none() => Codec::Zstd,
            other => other,
        };
        let failed = |what: &str| {
            Error::new(ErrorKind::Other, "compress an object").because(what.to_owned())
        };
        if codec == Codec::Zlib {
            let mut encoder = flate2::write::ZlibEncoder::new(&mut *buffer, ZLIB_LEVEL);
            encoder
                .write_all(data)
                .map_err(|error| failed(&error.to_string()))?;
            encoder
                .finish()
                .map_err(|error| failed(&error.to_string()))?;
        } else {
            buffer.reserve(zstd_safe::compress_bound(data.len()));
            COMPRESSOR
                .with_borrow_mut(|context| match &dictionary {
                    Some(it) => context.compress_using_cdict(buffer, data, &it.encoder),
                    None => context.compress(buffer, data, ZSTD_LEVEL),
                })
                .map_err(|code| failed(zstd_safe::get_error_name(code)))?;
        }
        if buffer.len() >= data.len() {
            return Ok(Payload::plain(data));
        }
        let dictionary = dictionary.map_or(0, |it| it.number);
        Ok(Payload {
            codec,
            dictionary,
            length: data.len() as u64,
            bytes: buffer,
        })
    }

    /// Appends the data of `payload` to `out`.
    ///
    /// # Errors
    /// `Damaged` where the bytes do not decompress to data of the stated length.
    pub fn decompress(&self, payload: Payload<'_>, out: &mut Vec<u8>) -> Result<()> {
        let bad = |what: String| Error::damaged("decompress an object", what);
        let Payload {
            codec,
            length,
            bytes,
            ..
        } = payload;
        if codec == Codec::None {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        let expected = usize::try_from(length).map_err(|_| bad(format!("{length} bytes?")))?;
        let mut data = Vec::new();
        data.try_reserve_exact(expected)
            .map_err(|_| bad(format!("it claims to hold {length} bytes")))?;
        if codec == Codec::Zlib {
            // One byte more than expected, so that data that is too long is noticed.
            flate2::read::ZlibDecoder::new(bytes)
                .take(length.saturating_add(1))
                .read_to_end(&mut data)
                .map_err(|error| bad(error.to_string()))?;
        } else {
            let dictionary = match codec {
                Codec::ZstdDict => Some(self.numbered(payload.dictionary).ok_or_else(|| {
                    bad(format!("its dictionary {} is missing", payload.dictionary))
                })?),
                _ => None,
            };
            DECOMPRESSOR
                .with_borrow_mut(|context| match &dictionary {
                    Some(it) => context.decompress_using_ddict(&mut data, bytes, &it.decoder),
                    None => context.decompress(&mut data, bytes),
                })
                .map_err(|code| bad(zstd_safe::get_error_name(code).to_owned()))?;
        }
        if data.len() != expected {
            return Err(bad(format!("{} bytes in place of {length}", data.len())));
        }
        if out.is_empty() {
            *out = data;
        } else {
            out.extend_from_slice(&data);
        }
        Ok(())
    }

    /// Makes a dictionary from objects that are typical of the store; `None` where they are too few
    /// or too different to be worth one.
    pub fn train(samples: &[Vec<u8>]) -> Option<Vec<u8>> {
        // The library wants at least seven samples and some ten times the dictionary's size.
        let total: usize = samples.iter().map(Vec::len).sum();
        let size = (total / 10).min(DICTIONARY_BYTES_MAX);
        if samples.len() < 16 || size < 256 {
            return None;
        }
        zstd::dict::from_samples(samples, size).ok()
    }

    /// Makes dictionary `number` known; that with the largest number is used to compress.
    pub fn add_dictionary(&self, number: u64, bytes: &[u8]) {
        let dictionary = Dictionary {
            number,
            bytes: bytes.to_vec(),
            encoder: CDict::create(bytes, ZSTD_LEVEL),
            decoder: DDict::create(bytes),
        };
        let mut map = self
            .dictionaries
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        map.insert(number, Arc::new(dictionary));
    }

    /// Whether dictionary `number` is known.
    pub fn knows_dictionary(&self, number: u64) -> bool {
        self.numbered(number).is_some()
    }

    /// The bytes of which dictionary `number` was made, if it is known.
    pub fn dictionary(&self, number: u64) -> Option<Vec<u8>> {
        self.numbered(number)
            .map(|dictionary| dictionary.bytes.clone())
    }

    /// The number of the dictionary that is used to compress, if there is one.
    pub fn newest_dictionary(&self) -> Option<u64> {
        self.newest().map(|dictionary| dictionary.number)
    }

    fn newest(&self) -> Option<Arc<Dictionary>> {
        let map = self
            .dictionaries
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        map.last_key_value()
            .map(|(_, dictionary)| dictionary.clone())
    }

    fn numbered(&self, number: u64) -> Option<Arc<Dictionary>> {
        let map = self
            .dictionaries
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        map.get(&number).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seed: u64, length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        let words = [
            "name=",
            "version=",
            "depends on ",
            "maintainer ",
            "libc6 ",
            "1.0-2 ",
            "\n",
        ];
        let mut out = Vec::new();
        while out.len() < length {
            out.extend_from_slice(words[random.usize(..words.len())].as_bytes());
            out.push(b'0' + random.u8(..10));
        }
        out
    }

    #[test]
    fn data_that_does_not_shrink_is_stored_plain() {
        let codecs = Codecs::default();
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
            .take(1000)
            .collect();
        for (_, codec) in Codec::NAMES {
            let mut buffer = Vec::new();
            assert_eq!(
                codecs.compress(codec, &noise, &mut buffer).unwrap(),
                Payload::plain(&noise)
            );
            assert_eq!(
                codecs.compress(codec, b"", &mut buffer).unwrap(),
                Payload::plain(b"")
            );
        }
    }

    #[test]
    fn a_dictionary_makes_small_objects_smaller_and_all_stay_readable() {
        let samples: Vec<Vec<u8>> = (0..2000).map(|seed| text(seed, 120)).collect();
        let codecs = Codecs::default();
        let (mut alone, mut with) = (Vec::new(), Vec::new());
        let data = text(5000, 120);
        let before = codecs.compress(Codec::ZstdDict, &data, &mut alone).unwrap();
        assert_eq!(before.codec(), Codec::Zstd, "there is no dictionary yet");
        codecs.add_dictionary(1, &Codecs::train(&samples).unwrap());
        let after = codecs.compress(Codec::ZstdDict, &data, &mut with).unwrap();
        assert_eq!(after.codec(), Codec::ZstdDict);
        assert!(after.bytes.len() < before.bytes.len());
        for payload in [before, after] {
            let mut out = b"kept".to_vec();
            codecs.decompress(payload, &mut out).unwrap();
            assert_eq!(out, [b"kept".as_slice(), &data].concat());
        }
        let elsewhere = Codecs::default()
            .decompress(after, &mut Vec::new())
            .unwrap_err();
        assert_eq!(elsewhere.kind(), ErrorKind::Damaged);
        assert!(Codecs::train(&samples[..3]).is_none());
    }

    #[test]
    fn a_wrong_length_is_damage() {
        let codecs = Codecs::default();
        let data = text(1, 300);
        for codec in [Codec::Zlib, Codec::Zstd] {
            let mut buffer = Vec::new();
            let good = codecs.compress(codec, &data, &mut buffer).unwrap();
            for length in [0, 1, good.length - 1, good.length + 1, 1 << 62] {
                let error = codecs.decompress(Payload { length, ..good }, &mut Vec::new());
                assert_eq!(
                    error.unwrap_err().kind(),
                    ErrorKind::Damaged,
                    "{codec:?} {length}"
                );
            }
        }
    }
}
