//! An open LMDB environment with its databases: opening, creating, checking the file's length.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use durum_core::engine::Table;
use durum_core::{Error, IoResultExt as _, Result, ResultExt as _};
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, WithoutTls};

use crate::NAME;
use crate::compact;
use crate::config::Config;
use crate::error::{closed, convert};

/// LMDB's own name of its data file.
pub(crate) const FILE: &str = "data.mdb";

/// A table: big-endian keys, any bytes.
pub(crate) type Rows = Database<'static, Bytes, Bytes>;

const OPEN: &str = "open the database";

/// An open environment.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) env: Env<WithoutTls>,
    tables: [Rows; Table::ALL.len()],
}

/// What an environment knows of its pages.
pub(crate) struct Pages {
    pub(crate) bytes_each: u64,
    /// Pages up to the last one in use.
    pub(crate) all: u64,
    /// Pages that hold rows or lead to them. LMDB's list of free pages is not counted.
    pub(crate) used: u64,
}

impl Environment {
    /// Opens the environment in `dir`, or creates it where `dir` is empty.
    pub(crate) fn open(dir: &Path, config: &Config) -> Result<Environment> {
        compact::remove_leftover(dir)?;
        let path = dir.join(FILE);
        let created = match fs::metadata(&path) {
            Ok(file) if file.len() == 0 => {
                // LMDB would make an empty database of it.
                return Err(Error::damaged(OPEN, "the file is empty").with_path(path));
            }
            Ok(_) => false,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut entries = fs::read_dir(dir).during(OPEN, dir)?;
                if entries.next().is_some() {
                    return Err(Error::damaged(OPEN, "the file is missing").with_path(path));
                }
                true
            }
            Err(error) => return Err(Error::io(error, OPEN).with_path(path)),
        };
        let env = open_env(dir, config).at_path(&path)?;
        if created {
            let environment = create_tables(env).at_path(&path)?;
            environment.sync()?;
            sync_dir(dir)?;
            return Ok(environment);
        }
        // A compaction may have been killed between its rename and its sync.
        sync_dir(dir)?;
        open_checked(env, &path).map_err(|error| error.with_engine(NAME).with_path(path))
    }

    /// Opens the copy that a compaction made, for reading. No lock file is made for it.
    pub(crate) fn open_copy(path: &Path, config: &Config) -> Result<Environment> {
        let mut options = options(config);
        // SAFETY: nobody else has the copy open, so that there is nothing to lock.
        unsafe { options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::READ_ONLY | EnvFlags::NO_LOCK) };
        // SAFETY: nobody changes or cuts the copy while it is open: it is this process's own, in a
        // directory that the store has locked, and was finished before.
        let env = unsafe { options.open(path) };
        let env = env.map_err(|error| convert(error, OPEN)).at_path(path)?;
        open_tables(env).at_path(path)
    }

    /// The rows of `table`.
    pub(crate) fn rows(&self, table: Table) -> Result<Rows> {
        let rows = self.tables.get(table.index()).copied();
        rows.ok_or_else(|| closed("find a table"))
    }

    /// Makes all commits durable.
    pub(crate) fn sync(&self) -> Result<()> {
        let synced = self.env.force_sync();
        synced.map_err(|error| convert(error, "sync the database"))
    }

    /// Counts pages. The caller sees to it that the map is not resized meanwhile.
    pub(crate) fn pages(&self) -> Result<Pages> {
        let failed = |error| convert(error, "count pages");
        let reader = self.env.read_txn().map_err(failed)?;
        let names = self.env.unnamed_database_stat();
        let mut used = META_PAGES + pages_of(&names);
        for rows in &self.tables {
            used += pages_of(&rows.stat(&reader).map_err(failed)?);
        }
        Ok(Pages {
            bytes_each: u64::from(names.page_size),
            all: self.env.info().last_page_number as u64 + 1,
            used,
        })
    }
}

/// LMDB keeps the two newest states of its roots, in a page each.
const META_PAGES: u64 = 2;

fn pages_of(stat: &heed::DatabaseStat) -> u64 {
    (stat.branch_pages + stat.leaf_pages + stat.overflow_pages) as u64
}

fn options(config: &Config) -> EnvOpenOptions<WithoutTls> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options
        .map_size(config.map_bytes)
        .max_readers(config.readers_max)
        .max_dbs(Table::ALL.len() as u32);
    options
}

fn open_env(dir: &Path, config: &Config) -> Result<Env<WithoutTls>> {
    let options = options(config);
    // SAFETY: the file is mapped, so nobody else may change or cut it while it is open. The store
    // holds a lock on its directory, and heed refuses to open one twice in a process.
    let env = unsafe { options.open(dir) }.map_err(|error| convert(error, OPEN))?;
    env.clear_stale_readers()
        .map_err(|error| convert(error, OPEN))?;
    Ok(env)
}

fn create_tables(env: Env<WithoutTls>) -> Result<Environment> {
    let failed = |error| convert(error, "create the tables");
    let writer = env.write_txn().map_err(failed)?;
    let tables = env
        .create_databases_and_commit(writer, |opener, writer| {
            let tables = Table::ALL
                .map(|table| opener.create_database::<Bytes, Bytes>(writer, Some(table.name())));
            heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(tables))
        })
        .map_err(failed)?
        .commit()
        .ok_or_else(|| closed("create the tables"))?;
    let tables: Vec<Rows> = tables
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    let tables = tables.try_into().map_err(|_| closed("create the tables"))?;
    Ok(Environment { env, tables })
}

fn open_tables(env: Env<WithoutTls>) -> Result<Environment> {
    let failed = |error| convert(error, "open the tables");
    let reader = env.read_txn().map_err(failed)?;
    let tables = env
        .open_databases_and_commit(reader, |opener, reader| {
            let tables = Table::ALL
                .map(|table| opener.open_database::<Bytes, Bytes>(reader, Some(table.name())));
            heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(tables))
        })
        .map_err(failed)?
        .commit()
        .ok_or_else(|| closed("open the tables"))?;
    let mut found = Vec::new();
    for (table, rows) in Table::ALL.into_iter().zip(tables) {
        let missing = || format!("the table `{}` is missing", table.name());
        let rows = rows.map_err(failed)?;
        found.push(rows.ok_or_else(|| Error::damaged(OPEN, missing()))?);
    }
    let tables = found.try_into().map_err(|_| closed("open the tables"))?;
    Ok(Environment { env, tables })
}

/// Opens the tables of a file that exists, which must not be shorter than its pages in use.
///
/// Touching a mapped page behind the end of the file would end the process. A shorter file may be
/// sound, as LMDB does not write pages that a transaction freed again, so it is made as long as LMDB
/// takes it to be, and is damaged if the pages in use cannot all have been in it.
fn open_checked(env: Env<WithoutTls>, path: &Path) -> Result<Environment> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .during(OPEN, path)?;
    let length = file.metadata().during(OPEN, path)?.len();
    let page_bytes = u64::from(env.unnamed_database_stat().page_size).max(1);
    let expected = (env.info().last_page_number as u64)
        .checked_add(1)
        .and_then(|pages| pages.checked_mul(page_bytes))
        .filter(|bytes| *bytes <= env.info().map_size as u64)
        .ok_or_else(|| Error::damaged(OPEN, "its last page is out of range"))?;
    if length >= expected {
        return open_tables(env);
    }
    file.set_len(expected).during(OPEN, path)?;
    let opened = open_tables(env).and_then(|environment| {
        let pages = environment.pages()?;
        if pages.used > length / page_bytes {
            return Err(Error::damaged(
                OPEN,
                format!("the file was cut: {length} bytes of {expected}"),
            )
            .hint("Restore the store from a backup."));
        }
        Ok(environment)
    });
    if opened.is_err() {
        // The next attempt should find what this one found.
        file.set_len(length).during(OPEN, path)?;
    }
    opened
}

/// Makes the entries of `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .during("sync the directory", dir)
}
