//! What is measured with other processes: kills, migrations, memory.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use durum_core::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::clock::Took;
use crate::measure::Sample;
use crate::migrate::child::{self, Taken};
use crate::objects::Objects;
use crate::{DOING, Settings};

/// The program that other processes run.
pub(crate) struct Processes<'a> {
    pub(crate) program: &'a Path,
    /// For temporary files.
    pub(crate) dir: &'a Path,
    pub(crate) settings: &'a Settings,
}

impl Processes<'_> {
    /// Has a process commit to the store at `path`, and kills it meanwhile.
    pub(crate) fn kill(&self, engine: &str, path: &Path, objects: Objects) -> Result<()> {
        let failed = |error| Error::io(error, DOING).with_path(self.program);
        let mut child = Command::new(self.program)
            .args(["bench", "commit", engine])
            .arg(path)
            .args(self.drawn(objects))
            .arg("--quiet")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(failed)?;
        // It writes a byte once it commits.
        let mut byte = [0];
        let begun = match child.stdout.take() {
            Some(mut said) => said.read(&mut byte).map_err(failed)?,
            None => 0,
        };
        std::thread::sleep(Duration::from_millis(20));
        let _gone = child.kill();
        let status = child.wait().map_err(failed)?;
        if begun == 0 || status.success() {
            let reason =
                format!("a process that used {engine} was to be killed, and ended: {status}");
            return Err(Error::new(ErrorKind::Other, DOING).because(reason));
        }
        Ok(())
    }

    /// Migrates a store, verified.
    pub(crate) fn migrate(&self, from: &OsStr, to: &OsStr) -> Result<Sample> {
        let arguments = [OsStr::new("migrate"), from, to];
        let (said, taken) = child::run(self.program, self.dir, &arguments)?;
        let objects = said.get("objects").and_then(Value::as_u64);
        let seconds = said.get("seconds").and_then(Value::as_f64);
        let (Some(objects), Some(seconds)) = (objects, seconds) else {
            return Err(Error::new(ErrorKind::Other, DOING)
                .because(format!("a migration does not say what it did: {said}")));
        };
        let processor = Duration::from_secs_f64(taken.cpu_seconds.unwrap_or_default());
        let time = Duration::from_secs_f64(seconds);
        Ok(Sample::of(objects, Took { time, processor }))
    }

    /// The memory that a bulk load of so many objects takes.
    pub(crate) fn memory(
        &self,
        engine: &str,
        path: &Path,
        objects: Objects,
        raw: bool,
    ) -> Result<Taken> {
        let mut arguments: Vec<OsString> = vec!["bench".into(), "load".into(), engine.into()];
        arguments.push(path.into());
        arguments.extend(self.drawn(objects));
        arguments.extend(raw.then(|| "--raw".into()));
        let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
        Ok(child::run(self.program, self.dir, &arguments)?.1)
    }

    fn drawn(&self, objects: Objects) -> [OsString; 6] {
        let Settings { size, seed, .. } = self.settings;
        [
            "--objects".into(),
            objects.count.to_string().into(),
            "--size".into(),
            size.to_string().into(),
            "--seed".into(),
            seed.to_string().into(),
        ]
    }
}

/// Commits to the store at `path` until the process is killed; calls `begun` when it has begun.
///
/// # Errors
/// Those of the store.
pub fn commit_until_killed(
    registry: &durum_core::engine::Registry,
    path: &Path,
    settings: &crate::LoadSettings,
    begun: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    use crate::subject::{Change, StoreSubject, Subject as _};

    let objects = Objects {
        count: settings.objects,
        size: settings.size,
        seed: settings.seed,
    };
    let settings = durum_core::config::StoreSettings::new(settings.engine.as_str(), path);
    let subject = StoreSubject::open(registry, &settings, objects)?;
    let mut version = 1;
    loop {
        let oid = version % objects.count;
        let prepared = subject.prepare(&Change::Update(&[oid], version));
        subject.commit(prepared, true)?;
        if version == 1 {
            begun()?;
        }
        version += 1;
    }
}
