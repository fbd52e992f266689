//! Pickles byte by byte, and random ones.

use fastrand::Rng;

use super::opcode::*;
use super::samples::PICKLES;
use super::{BadPickle, ListHead, PersistentId, PersistentIds, Text};

const OID: [u8; 8] = [0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff];
const EIGHT: Text = Text::Eight(OID);

/// The persistent ids of one pickle.
fn ids(bytes: &[u8]) -> Result<Vec<PersistentId>, BadPickle> {
    let mut found = Vec::new();
    let mut take = |id| {
        found.push(id);
        Ok(())
    };
    PersistentIds::new(bytes).pickle(&mut take)?;
    Ok(found)
}

fn list(first: Option<Text>, length: u8) -> PersistentId {
    PersistentId::List(ListHead { first, length })
}

/// A short string of Python 2, or of bytes.
fn short(opcode: u8, bytes: &[u8]) -> Vec<u8> {
    [&[opcode, bytes.len() as u8], bytes].concat()
}

fn sized(opcode: u8, width: usize, bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    [&[opcode], &length[..width], bytes].concat()
}

#[test]
fn strings_of_all_opcodes() {
    let text = b"\x00\x01234567";
    let eight = PersistentId::Text(Text::Eight(*text));
    for string in [
        short(SHORT_BINSTRING, text),
        short(SHORT_BINBYTES, text),
        sized(BINSTRING, 4, text),
        sized(BINBYTES, 4, text),
        sized(BINBYTES8, 8, text),
        sized(SHORT_BINUNICODE, 1, text),
        sized(BINUNICODE, 4, text),
        sized(BINUNICODE8, 8, text),
        b"S'\\x00\\x01234567'\n".to_vec(),
        b"V\\u0000\x01234567\n".to_vec(),
    ] {
        let bytes = [&string[..], b"Q."].concat();
        assert_eq!(ids(&bytes), Ok(vec![eight]), "{}", bytes.escape_ascii());
        let bytes = [&string[..], b"cm\nc\n\x86Q."].concat();
        assert_eq!(
            ids(&bytes),
            Ok(vec![PersistentId::Tuple(Text::Eight(*text))])
        );
    }
    assert_eq!(ids(b"P\x00\x01234567\n."), Ok(vec![eight]));
    // As Python 2 wrote OIDs, whatever their bytes.
    for string in [
        short(SHORT_BINSTRING, &OID),
        sized(BINSTRING, 4, &OID),
        b"S'\\x00\\x01\\x02\\x03\\xfc\\xfd\\xfe\\xff'\n".to_vec(),
    ] {
        let bytes = [&string[..], b"q\x01(h\x01ctQ."].concat();
        assert!(ids(&bytes).is_err(), "the class has no name");
        let bytes = [&string[..], b"q\x01(h\x01cm\nC\ntQ."].concat();
        assert_eq!(ids(&bytes), Ok(vec![PersistentId::Tuple(EIGHT)]));
    }
    let other = [
        sized(BYTEARRAY8, 8, text),
        sized(BINUNICODE, 4, &OID),
        short(SHORT_BINBYTES, b"nine byte"),
        b"N".to_vec(),
        b")".to_vec(),
        b"}".to_vec(),
    ];
    for value in other {
        let bytes = [&value[..], b"Q."].concat();
        assert_eq!(ids(&bytes), Ok(vec![PersistentId::Other]));
    }
}

fn bad(at: usize, why: &'static str) -> BadPickle {
    BadPickle { at, why }
}

#[test]
fn lists_and_tuples_however_they_are_made() {
    let oid = short(SHORT_BINBYTES, &OID);
    let weak = [b"U\x01w".to_vec(), oid.clone(), b"\x85".to_vec()].concat();
    let two = list(Some(Text::One(b'w')), 2);
    for (bytes, expected) in [
        ([b"](", &weak[..], b"eQ."].concat(), two),
        ([b"(", &weak[..], b"lQ."].concat(), two),
        ([b"]q\x00(", &weak[..], b"e0h\x00Q."].concat(), two),
        ([b"]U\x01wa", &oid[..], b"\x85aQ."].concat(), two),
        ([b"]\x94\x94(", &weak[..], b"e0(h\x01Q."].concat(), two),
        ([b"]", &oid[..], b"aQ."].concat(), list(Some(EIGHT), 1)),
        (b"]Q.".to_vec(), list(None, 0)),
        (b"]NaU\x01waQ.".to_vec(), list(None, 2)),
        (
            [b"(", &oid[..], b"NNNtQ."].concat(),
            PersistentId::Tuple(EIGHT),
        ),
        (
            [b"(NNN1", &oid[..], b"2\x86Q."].concat(),
            PersistentId::Tuple(EIGHT),
        ),
        ([&oid[..], b"\x85Q."].concat(), PersistentId::Tuple(EIGHT)),
        ([&oid[..], b"NN\x87Q."].concat(), PersistentId::Tuple(EIGHT)),
        ([b"N", &oid[..], b"\x86Q."].concat(), PersistentId::Other),
        ([b"(", &oid[..], b"dQ."].concat(), PersistentId::Other),
    ] {
        assert_eq!(ids(&bytes), Ok(vec![expected]), "{}", bytes.escape_ascii());
    }
    for pickles in PICKLES {
        let mut reading = PersistentIds::new(pickles);
        reading
            .pickle(&mut |_| Err("a class refers to nothing"))
            .unwrap();
        reading.pickle(&mut |_| Ok(())).unwrap();
        assert_eq!(
            reading.pickle(&mut |_| Ok(())).unwrap_err().at,
            pickles.len()
        );
    }
    let long = [&b"("[..], &b"N".repeat(1000), b"lQ."].concat();
    assert_eq!(ids(&long), Ok(vec![list(None, 255)]));
}

/// What a pickler memoized before the state is used in it.
#[test]
fn two_pickles_share_a_memo() {
    let first = [&short(SHORT_BINBYTES, &OID)[..], b"q\x05."].concat();
    let bytes = [&first[..], b"h\x05Q."].concat();
    let mut found = Vec::new();
    let mut take = |id| {
        found.push(id);
        Ok(())
    };
    let mut pickles = PersistentIds::new(&bytes);
    pickles.pickle(&mut take).unwrap();
    pickles.pickle(&mut take).unwrap();
    let end = bytes.len();
    assert_eq!(pickles.pickle(&mut take).unwrap_err().at, end);
    assert_eq!(found, [PersistentId::Text(EIGHT)]);
    assert!(ids(b"h\x05.").is_err());
    for far in [
        &b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff."[..],
        b"Np99999999\n0g99999999\n.",
    ] {
        assert_eq!(ids(far), Ok(Vec::new()));
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (bytes, at) in [
        (&b""[..], 0),
        (b"N", 1),
        (b".", 0),
        (b"(.", 1),
        (b"N(Q.", 2),
        (b"(\x85.", 1),
        (b"Nt.", 1),
        (b"]e.", 1),
        (b"a.", 0),
        (b"Nb.", 1),
        (b"\x80\x06N.", 0),
        (b"\x95\x09\0\0\0\0\0\0\0N.", 0),
        (b"T\xff\xff\xff\xff.", 0),
        (b"\x8b\xff\xff\xff\xff.", 0),
        (b"X\x05\0\0\0abc", 0),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", 0),
        (b"\x97.", 0),
        (b"N\x98.", 1),
        (b"\xff.", 0),
        (b"I12", 0),
        (b"cmodule\nname", 0),
        (b"S'no end\n.", 0),
        (b"gx\n.", 0),
        (b"Np-1\n.", 1),
        (b"2.", 0),
        (b"0.", 0),
    ] {
        let error = ids(bytes).unwrap_err();
        assert_eq!(error.at, at, "{}: {error:?}", bytes.escape_ascii());
    }
    let mut refuse = |_| Err("not this one");
    let error = PersistentIds::new(b"NNQ.").pickle(&mut refuse);
    assert_eq!(error, Err(bad(2, "not this one")));
}

/// Real pickles with bytes changed, cut and doubled, and random opcodes: whatever comes, it ends, and
/// without a panic. `DURUM_TEST_PICKLES` sets their number.
#[test]
fn no_bytes_do_harm() {
    let mut draw = Rng::with_seed(durum_testkit::seed());
    let count = std::env::var("DURUM_TEST_PICKLES").map_or(60_000, |count| count.parse().unwrap());
    let mut whole = 0;
    for _ in 0..count {
        let bytes = match draw.u8(0..4) {
            0 => soup(&mut draw),
            _ => mutated(&mut draw),
        };
        let mut pickles = PersistentIds::new(&bytes);
        let mut found = 0;
        let mut take = |_| {
            found += 1;
            Ok(())
        };
        // Each pickle takes a byte at the least.
        for _ in 0..=bytes.len() {
            match pickles.pickle(&mut take) {
                Ok(()) => whole += 1,
                Err(error) => {
                    assert!(error.at <= bytes.len(), "{error:?}");
                    break;
                }
            }
        }
        assert!(found <= bytes.len());
    }
    println!("{whole} whole pickles among {count}");
    assert!(whole > 0 || count < 1000);
}

/// Opcodes with small arguments, most of which fit together.
fn soup(draw: &mut Rng) -> Vec<u8> {
    let opcodes =
        b"(.012FIJKLMNPQRSTUVX]abcd}eghijl]opqrstu)G\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\
        \x8a\x8bBC\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98";
    let mut bytes = Vec::new();
    for _ in 0..draw.usize(0..60) {
        // Values more often than what takes them.
        match draw.u8(0..3) {
            0 => bytes.push(*draw.choice(b"N]})(\x94").unwrap()),
            1 => bytes.extend(short(SHORT_BINBYTES, &OID)),
            _ => {
                bytes.push(*draw.choice(opcodes).unwrap());
                let length = draw.usize(0..4);
                bytes.extend((0..length).map(|_| *draw.choice(b"\0\0\x01\x08\n'0\xff").unwrap()));
            }
        }
    }
    bytes.extend(b"Q.");
    bytes
}

fn mutated(draw: &mut Rng) -> Vec<u8> {
    let mut bytes = draw.choice(PICKLES).unwrap().to_vec();
    for _ in 0..draw.usize(1..5) {
        let at = draw.usize(0..=bytes.len());
        let end = (at + draw.usize(0..12)).min(bytes.len());
        match draw.u8(0..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << draw.u8(0..8),
            1 if at < bytes.len() => bytes[at] = draw.u8(..),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                let to = draw.usize(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => {
                let other = draw.choice(PICKLES).unwrap();
                let from = draw.usize(0..other.len());
                let to = (from + draw.usize(0..40)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    bytes
}
