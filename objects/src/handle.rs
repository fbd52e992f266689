//! What all handles of containers have: they are references with methods.

/// Makes a type a handle, which is copied, compared, hashed and stored as its only field. `$make` makes one of that.
macro_rules! handle {
    ($name:ident<$($parameter:ident),+>, $field:ident, $make:expr) => {
        impl<$($parameter),+> Clone for $name<$($parameter),+> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($parameter),+> Copy for $name<$($parameter),+> {}

        impl<$($parameter),+> PartialEq for $name<$($parameter),+> {
            /// Whether it is the same container.
            fn eq(&self, other: &Self) -> bool {
                self.$field == other.$field
            }
        }

        impl<$($parameter),+> Eq for $name<$($parameter),+> {}

        impl<$($parameter),+> std::hash::Hash for $name<$($parameter),+> {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.$field.hash(state);
            }
        }

        impl<$($parameter),+> serde::Serialize for $name<$($parameter),+> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.$field.serialize(serializer)
            }
        }

        impl<'de, $($parameter),+> serde::Deserialize<'de> for $name<$($parameter),+> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                serde::Deserialize::deserialize(deserializer).map($make)
            }
        }
    };
}

pub(crate) use handle;
