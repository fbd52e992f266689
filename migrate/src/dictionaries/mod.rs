//! Moving dictionaries between homes, with all of their revisions.
//!
//! Each class is filled while nobody else can use it: its definition says so, and from where, and how far that is. Revisions are
//! kept as they are and taken over once only, so that what was on its way when a migration was cut off can be brought
//! again. What came to the source meanwhile follows by its feed of changes.

mod compare;
mod copy;
mod parallel;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use durum_core::digest::Digest;
use durum_core::{Error, ErrorKind, Result};
use durum_dictionaries::{Class, Dictionaries, Filling, Marker};

use crate::options::{MigrateOptions, StopWatch, Verify};
use crate::pipeline::Progress;
use crate::rate::Rate;

const DOING: &str = "migrate dictionaries";

/// How often it is written down how far a class is.
const NOTE_EVERY: Duration = Duration::from_secs(2);

/// How many revisions, and bytes of them, are written at once.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 20;

/// How often a copy that differs is caught up with a source that is written to.
const CATCH_UPS_MAX: u32 = 3;

/// A home, and what to call it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its dictionaries.
    pub home: &'a Dictionaries,
    /// Its URL.
    pub url: &'a str,
    /// Whether it is on nodes: many threads writing to it at once are faster than one, and its changes are followed only where
    /// [`MigrateOptions::follow`] is set, for they are held in memory.
    pub is_on_nodes: bool,
}

/// What to migrate, beside the [options](MigrateOptions) of all migrations.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The classes; all where none is named.
    pub classes: Vec<String>,
    /// How many copies they have at the destination; as many as at the source where it is not said.
    pub copies: Option<u32>,
}

/// What became of a class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Its name.
    pub class: String,
    /// Its dictionaries, deleted ones too, those of earlier runs included.
    pub dictionaries: u64,
    /// Revisions that were new to the destination.
    pub added: u64,
    /// Those of them that came to the source while it was copied.
    pub followed: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// The digest of all revisions of both sides, where they were verified by it.
    pub digest: Option<Digest>,
    /// Whether it went on with a migration that was cut off.
    pub resumed: bool,
}

/// Copies classes with all revisions into a home that does not have them yet, in memory that does not grow with their number.
/// Nobody can use a class there until it is whole and verified. Others may write to the source meanwhile where its changes are followed.
///
/// The digest of a class is the sum of the digests of its revisions, modulo 2^256, so that it needs no order.
///
/// A migration of several classes that was cut off may have left some of them whole: with [`MigrateOptions::resume`] a class
/// that is there is compared with the source's, and left as it is where all its revisions are the same.
///
/// # Errors
/// `Exists` where the destination has a class of such a name, and it is not that which was moved; `Usage` for one that is
/// being filled where [`MigrateOptions::resume`] is not set, or that is filled from elsewhere; `Interrupted` where it was stopped; `Mismatch` where the sides
/// differ; those of the homes.
pub fn migrate_dictionaries(
    source: Place<'_>,
    destination: Place<'_>,
    selection: &Selection,
    options: &MigrateOptions,
    progress: &dyn Progress,
) -> Result<Vec<Moved>> {
    let classes = match selection.classes.as_slice() {
        [] => source.home.classes()?,
        names => {
            let classes = names.iter().map(|name| source.home.class(name));
            classes.collect::<Result<Vec<_>>>()?
        }
    };
    let there = destination.home.classes()?;
    let find = |class: &Class| there.iter().find(|other| other.name == class.name);
    let (resumes, thorough) = (options.resume, options.thorough());
    let tasks = classes.into_iter().map(|class| {
        if class.filling.is_some() {
            return Err(refused(format!(
                "the class `{}` of the source is not whole itself",
                class.name
            )));
        }
        let there = find(&class);
        let begun = begun(&source, &class, there, resumes)?;
        Ok((class, begun))
    });
    // Nothing is begun where something cannot be.
    let tasks = tasks.collect::<Result<Vec<_>>>()?;
    let mut tasks: Vec<_> = tasks.into_iter().enumerate().collect();
    tasks.sort_by_key(|(_, (_, begun))| !matches!(begun, Begun::Whole));
    destination.home.admit_unfinished();
    let watch = StopWatch::start(options);
    let rate = RefCell::new(Rate::new(options.rate));
    let mut moved = Vec::new();
    for (number, (class, begun)) in tasks {
        let task = Task {
            sides: Sides {
                source,
                destination,
                target: Class {
                    copies: selection.copies.unwrap_or(class.copies),
                    ..class
                },
                options: match begun {
                    Begun::Whole => &thorough,
                    Begun::Not | Begun::Part(_) => options,
                },
                watch: &watch,
            },
            progress,
            rate: &rate,
        };
        let done = match begun {
            Begun::Whole => task.confirm(),
            Begun::Not => task.run(None),
            Begun::Part(filling) => task.run(Some(filling)),
        };
        let done = done.map_err(|error| match error.kind() {
            ErrorKind::Interrupted => {
                error.hint("Go on with it by the same command and `--resume`.")
            }
            _ => error,
        });
        moved.push((number, done?));
    }
    moved.sort_by_key(|(number, _)| *number);
    Ok(moved.into_iter().map(|(_, moved)| moved).collect())
}

/// How far an earlier migration came.
enum Begun {
    Not,
    Part(Filling),
    /// The class is there, and may be what was moved.
    Whole,
}

fn exists(class: &Class) -> Error {
    Error::new(ErrorKind::Exists, DOING)
        .because(format!("the destination has a class `{}` already", class.name))
        .hint("`durum dict export` and `import` bring two together; else name the classes that are to be moved.")
}

/// How far an earlier migration came with a class.
fn begun(source: &Place<'_>, class: &Class, there: Option<&Class>, resumes: bool) -> Result<Begun> {
    let Some(there) = there else {
        return Ok(Begun::Not);
    };
    let as_defined = Class {
        filling: None,
        copies: class.copies,
        ..there.clone()
    };
    let Some(filling) = &there.filling else {
        return match resumes && as_defined == *class {
            true => Ok(Begun::Whole),
            false => Err(exists(class)),
        };
    };
    if !resumes {
        return Err(refused(format!(
            "a migration into the class `{}` was cut off",
            class.name
        ))
        .hint("Go on with it: `--resume`."));
    }
    if filling.source != source.url {
        return Err(refused(format!(
            "the class `{}` was begun from {}, and not from {}",
            class.name, filling.source, source.url
        )));
    }
    if as_defined != *class {
        return Err(refused(format!(
            "the definition of the class `{}` has changed since it was begun",
            class.name
        )));
    }
    Ok(Begun::Part(filling.clone()))
}

fn refused(why: String) -> Error {
    Error::new(ErrorKind::Usage, DOING).because(why)
}

/// A class of both homes, as all threads see it.
struct Sides<'a> {
    source: Place<'a>,
    destination: Place<'a>,
    /// The class as it is to be.
    target: Class,
    options: &'a MigrateOptions,
    watch: &'a StopWatch,
}

/// The migration of one class.
struct Task<'a> {
    sides: Sides<'a>,
    progress: &'a dyn Progress,
    rate: &'a RefCell<Rate>,
}

impl Task<'_> {
    /// Compares a class that is there.
    fn confirm(&self) -> Result<Moved> {
        let found = compare::both(self)?;
        if found.differences > 0 {
            return Err(exists(&self.sides.target));
        }
        Ok(Moved {
            class: self.sides.target.name.clone(),
            dictionaries: found.dictionaries,
            digest: found.digest,
            resumed: true,
            ..Moved::default()
        })
    }

    fn run(&self, filling: Option<Filling>) -> Result<Moved> {
        let mut moved = Moved {
            class: self.sides.target.name.clone(),
            resumed: filling.is_some(),
            ..Moved::default()
        };
        let mut filling = match filling {
            Some(filling) => filling,
            None => {
                let begun = Filling {
                    source: self.sides.source.url.to_owned(),
                    since: self.begin_to_follow()?,
                    done_to: String::new(),
                    done: 0,
                };
                self.note(&begun)?;
                begun
            }
        };
        self.copy(&mut filling, &mut moved)?;
        let mut since = filling.since.clone();
        self.follow(&mut since, &mut moved)?;
        moved.digest = self.verify(&mut since, &mut moved)?;
        // What has come behind the back of the verification, too.
        self.follow(&mut since, &mut moved)?;
        self.sides
            .destination
            .home
            .define_filling(self.sides.target.clone())?;
        Ok(moved)
    }

    /// Where the source's changes end now, if they are to be followed.
    fn begin_to_follow(&self) -> Result<Option<Marker>> {
        let source = &self.sides.source;
        match source.is_on_nodes && !self.sides.options.follow {
            true => Ok(None),
            false => source.home.marker(&self.sides.target.name).map(Some),
        }
    }

    /// Writes down how far it is.
    fn note(&self, filling: &Filling) -> Result<()> {
        self.sides.destination.home.define_filling(Class {
            filling: Some(filling.clone()),
            ..self.sides.target.clone()
        })
    }

    fn copy(&self, filling: &mut Filling, moved: &mut Moved) -> Result<()> {
        self.progress.begin("copy", None);
        self.progress.skip(filling.done, 0);
        let mut noted = Instant::now();
        let copied = copy::all(self, &filling.done_to.clone(), |part| {
            moved.added += part.added;
            moved.bytes += part.bytes;
            filling.done += part.dictionaries;
            if let Some(last) = part.last_key {
                filling.done_to = last;
            }
            self.progress.advance(part.dictionaries, part.bytes);
            if noted.elapsed() >= NOTE_EVERY {
                self.note(filling)?;
                noted = Instant::now();
            }
            Ok(())
        });
        // What is there need not be brought again, whatever has ended it.
        let noted = self.note(filling);
        copied.and(noted)?;
        moved.dictionaries = filling.done;
        Ok(())
    }

    /// Brings over what came since a marker, until nothing more has come.
    fn follow(&self, since: &mut Option<Marker>, moved: &mut Moved) -> Result<u64> {
        let Some(since) = since else {
            return Ok(0);
        };
        self.progress.begin("follow", None);
        let mut brought = 0;
        loop {
            let round = copy::changes(self, since)?;
            moved.added += round.added;
            moved.followed += round.added;
            moved.bytes += round.bytes;
            brought += round.added;
            if round.revisions == 0 {
                return Ok(brought);
            }
        }
    }

    fn verify(&self, since: &mut Option<Marker>, moved: &mut Moved) -> Result<Option<Digest>> {
        if self.sides.options.verify == Verify::None {
            return Ok(None);
        }
        for _ in 0..CATCH_UPS_MAX {
            let found = compare::both(self)?;
            moved.dictionaries = found.dictionaries;
            if found.differences == 0 {
                return Ok(found.digest);
            }
            // It can be that somebody writes to the source.
            if self.follow(since, moved)? == 0 {
                return Err(self.mismatch(found.differences));
            }
        }
        Err(Error::new(ErrorKind::InUse, "verify the copy")
            .because(format!(
                "the class `{}` of the source is written to, so that both sides are never equal",
                self.sides.target.name
            ))
            .hint("Stop who writes to it, and go on with `--resume`."))
    }

    fn mismatch(&self, differences: u64) -> Error {
        let error = Error::new(ErrorKind::Mismatch, "verify the copy").because(format!(
            "{differences} dictionaries of the class `{}` are not the same on both sides",
            self.sides.target.name
        ));
        match self.sides.source.is_on_nodes {
            true => {
                error.hint("If somebody writes to the source, stop that, or begin with `--follow`.")
            }
            false => error.hint("`--resume --verify full` names them."),
        }
    }
}
