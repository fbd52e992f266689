//! What containers can hold.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value that is stored within an object: any that serde writes and reads. It is there for all such types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept in a container",
    label = "this type cannot be stored",
    note = "add `#[derive(Clone, Serialize, Deserialize)]` to it; it must own what it holds, and be `Send` and `Sync`"
)]
pub trait Storable: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Storable for T {}

/// A value by which a container is in order. It is there for all types that are [`Storable`] and `Ord`.
///
/// The order must be total and never change, or what was stored by it is not found again.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key of an ordered container",
    label = "this type cannot be a key",
    note = "add `#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]` to it; `Dict` takes keys without an order"
)]
pub trait Key: Storable + Ord {}

impl<T: Storable + Ord> Key for T {}
