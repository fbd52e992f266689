//! Making and changing objects.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use durum_core::{Error, ErrorKind, Oid, Result};

use super::read::lent;
use super::{Copy, Transaction};
use crate::kind::{Kind, Value};
use crate::persistent::Persistent;
use crate::reference::Ref;
use crate::root::NamesSeen;

impl Transaction {
    /// Makes a new object. It is stored by the commit of this transaction, if an object that is stored refers
    /// to it then.
    ///
    /// # Errors
    /// Those of the store, which hands out the OID; `Usage` in a view.
    #[allow(
        clippy::new_ret_no_self,
        reason = "it is the word for it: tx.new(value)"
    )]
    pub fn new<T: Persistent>(&self, value: T) -> Result<Ref<T>> {
        self.new_cyclic(|_| Ok(value))
    }

    /// As [`Transaction::new`], for an object to which those that it refers to refer back: `make` gets the
    /// reference to it and makes them.
    ///
    /// # Errors
    /// As [`Transaction::new`]; that of `make`.
    pub fn new_cyclic<T: Persistent>(
        &self,
        make: impl FnOnce(Ref<T>) -> Result<T>,
    ) -> Result<Ref<T>> {
        self.writable("make an object")?;
        let oid = self.db.new_oid()?;
        let target = Ref::to(self.mark(), oid)?;
        let copy = Copy {
            kind: Kind::of::<T>(),
            value: Some(Arc::new(make(target)?)),
            base: None,
            changed: true,
            left: false,
        };
        self.save(oid);
        self.state.borrow_mut().copies.insert(oid, copy);
        Ok(target)
    }

    /// The object that `target` refers to, to be changed. The first change makes a copy, which is seen by this
    /// transaction only until it is committed; where nothing is changed the object was only read.
    ///
    /// # Errors
    /// As [`Transaction::get`]; `Usage` where the object is being changed already, and in a view.
    pub fn get_mut<T: Persistent>(&self, target: Ref<T>) -> Result<Mut<'_, T>> {
        self.writable("change an object")?;
        let oid = target.oid_in(self.mark())?;
        let kind = Kind::of::<T>();
        let value = match self.copy_of(oid, kind)? {
            Some(value) => value,
            None => {
                let version = self.watched(self.version(oid, kind))?;
                self.save(oid);
                let copy = Copy {
                    kind,
                    value: None,
                    base: Some(version.tid),
                    changed: false,
                    left: false,
                };
                self.state.borrow_mut().copies.insert(oid, copy);
                version.value
            }
        };
        self.save(oid);
        let mut own = false;
        if let Some(copy) = self.state.borrow_mut().copies.get_mut(&oid) {
            copy.value = None;
            own = copy.changed;
        }
        match value.downcast() {
            Ok(value) => Ok(Mut {
                tx: self,
                oid,
                value: Some(value),
                saved: self.savepoint_now.get(),
                own,
                changed: false,
            }),
            Err(_) => Err(lent(oid)),
        }
    }

    /// Replaces an object's value.
    ///
    /// # Errors
    /// As [`Transaction::get_mut`].
    pub fn set<T: Persistent>(&self, target: Ref<T>, value: T) -> Result<()> {
        *self.get_mut(target)? = value;
        Ok(())
    }

    /// Gives an object a name at the root, which keeps it and all that it refers to. What had the name before
    /// loses it.
    ///
    /// # Errors
    /// As [`Transaction::get_mut`].
    pub fn set_root<T: Persistent>(&self, name: &str, target: Ref<T>) -> Result<()> {
        target.oid_in(self.mark())?;
        let mut root = self.get_mut(self.root_ref()?)?;
        root.names.insert(name.to_owned(), target.cast());
        Ok(())
    }

    /// Takes a name from the root; says whether it was there.
    ///
    /// # Errors
    /// As [`Transaction::get_mut`].
    pub fn remove_root(&self, name: &str) -> Result<bool> {
        let target = self.root_ref()?;
        self.observe(target, |seen: &mut NamesSeen| seen.note(name))?;
        let mut root = self.get_mut(target)?;
        Ok(root.names.contains_key(name) && root.names.remove(name).is_some())
    }

    pub(super) fn writable(&self, operation: &'static str) -> Result<()> {
        match self.tracking {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Usage, operation)
                .because("this transaction only reads")
                .hint("Begin it by Database::begin or Database::transact.")),
        }
    }

    /// Gives back what [`Mut`] has borrowed.
    fn give_back(&self, oid: Oid, value: Value, changed: bool) {
        let mut state = self.state.borrow_mut();
        if let Some(copy) = state.copies.get_mut(&oid) {
            copy.value = Some(value);
            copy.changed |= changed;
        }
    }
}

/// An object that is being changed; it can be read, too. What was changed is there once this is dropped.
#[derive(Debug)]
pub struct Mut<'tx, T: Persistent> {
    tx: &'tx Transaction,
    oid: Oid,
    /// Absent only after it was dropped.
    value: Option<Arc<T>>,
    /// Whether the value was made by this transaction.
    own: bool,
    changed: bool,
    /// The last savepoint for which the value was saved.
    saved: u64,
}

impl<T: Persistent> Mut<'_, T> {
    #[allow(
        clippy::expect_used,
        reason = "it is there until drop, which nothing follows"
    )]
    fn value(&self) -> &Arc<T> {
        self.value.as_ref().expect("the value is here until drop")
    }
}

impl<T: Persistent> Deref for Mut<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value()
    }
}

impl<T: Persistent> DerefMut for Mut<'_, T> {
    #[allow(
        clippy::expect_used,
        reason = "it is there until drop, which nothing follows"
    )]
    fn deref_mut(&mut self) -> &mut T {
        let now = self.tx.savepoint_now.get();
        if self.saved != now {
            // A savepoint was made after this was borrowed.
            self.saved = now;
            let value = Arc::clone(self.value());
            self.tx.save_lent(self.oid, value, self.changed);
        }
        self.changed = true;
        let value = self.value.as_mut().expect("the value is here until drop");
        if !self.own {
            // Also where nobody else has the version any more: a clone is without what was computed from it.
            *value = Arc::new(T::clone(value));
            self.own = true;
        }
        Arc::make_mut(value)
    }
}

impl<T: Persistent> Drop for Mut<'_, T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.tx.give_back(self.oid, value, self.changed);
        }
    }
}
