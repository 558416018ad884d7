//! Which objects of a lake hold records: those that the compactor takes.

use futures::StreamExt;
use object_store::{ObjectMeta, path::Path};

use crate::{
    CompactError, Location,
    compact::discover::{Class, classify, is_folder_marker, is_of_lines},
};

/// An object of the lake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Object {
    /// Its name under the lake's root.
    pub(super) name: String,
    /// Where it is in the store.
    pub(super) path: Path,
}

/// A raw lake, as far as a query has to know it.
#[derive(Debug, Clone)]
pub(super) struct Lake {
    /// Where it is.
    pub(super) place: Location,
    /// Names that start with this are what could not be delivered; nothing when empty.
    pub(super) error_prefix: String,
    /// Whether records are lines of fields.
    pub(super) lines: bool,
    /// Places that may be under the lake and are not part of it: the table and its quarantine.
    pub(super) not_lake: Vec<Path>,
}

impl Lake {
    /// The objects with records, in order of name.
    pub(super) async fn objects(&self) -> Result<Vec<Object>, CompactError> {
        let mut list = self.place.store.list(Some(&self.place.root)).fuse();
        let mut objects = Vec::new();
        while let Some(found) = list.next().await {
            match found {
                Ok(found) => objects.extend(self.object(found)),
                // A file that went away between listing its folder and looking at it.
                Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(CompactError::object(&self.place.url, source)),
            }
        }
        objects.sort_unstable();
        Ok(objects)
    }

    /// The object when the compactor would take it.
    fn object(&self, found: ObjectMeta) -> Option<Object> {
        let under = |place: &Path| *place != self.place.root && place.prefix_matches(&self.place.root);
        if self.not_lake.iter().any(|place| under(place) && found.location.prefix_matches(place)) {
            return None;
        }
        let parts: Vec<_> = found.location.prefix_match(&self.place.root)?.collect();
        let name = parts.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("/");
        let is_taken = match classify(&name, &self.error_prefix) {
            Class::Records => true,
            Class::Other => self.lines && is_of_lines(&name),
            Class::Error | Class::Hidden => false,
        };
        let taken = is_taken && !is_folder_marker(&name, found.size);
        taken.then_some(Object { name, path: found.location })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory};

    use super::*;

    #[tokio::test]
    async fn only_objects_with_records_are_taken_in_order_of_name() {
        let store = Arc::new(InMemory::new());
        for name in [
            "lake/year=2025/b.gz",
            "lake/a.json",
            "lake/St. Ives/bare",
            "lake/errors/format/c.gz",
            "lake/_tmp/d.gz",
            "lake/.hidden.gz",
            "lake/readme.txt",
            "lake/table/part-0.json",
            "lakeside/e.gz",
        ] {
            store.put(&Path::from(name), "x".into()).await.unwrap();
        }
        let lake = |error_prefix: &str| Lake {
            place: Location {
                store: Arc::clone(&store) as Arc<dyn ObjectStore>,
                url: "memory:///lake/".parse().unwrap(),
                root: Path::from("lake"),
            },
            error_prefix: error_prefix.to_owned(),
            lines: false,
            not_lake: vec![Path::from("lake/table")],
        };
        let names = |objects: Vec<Object>| objects.into_iter().map(|o| o.name).collect::<Vec<_>>();
        let good = ["St. Ives/bare", "a.json", "year=2025/b.gz"];
        assert_eq!(names(lake("errors/").objects().await.unwrap()), good);
        assert_eq!(names(lake("").objects().await.unwrap()), [good[0], good[1], "errors/format/c.gz", good[2]]);
    }
}
