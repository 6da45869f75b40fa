//! The database: one SQLite file.

use crate::fact::{Confidence, Fact, Field, Kind, Layout, Method, Origin, Signature};
use crate::{Error, Fingerprint, Result, schema};
use image::VirtualAddress;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A database of offsets, open.
#[derive(Debug)]
pub struct Store {
    pub(crate) connection: Connection,
    path: PathBuf,
}

/// A file that the database knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub(crate) id: i64,
    /// Its key, as [`Fingerprint::key`] has it.
    pub key: String,
    /// GNU's build-id.
    pub build_id: Option<Vec<u8>>,
    /// xxh3-64 of `.text`.
    pub text: u64,
    /// The instruction set.
    pub machine: String,
    /// Go's build-id.
    pub go_build_id: Option<String>,
}

/// What a database says that it is.
struct Identity {
    application: u32,
    version: u32,
    tables: i64,
}

/// How long a writer waits for another.
const PATIENCE: Duration = Duration::from_secs(30);

impl Store {
    /// Opens a database for look-ups.
    ///
    /// # Errors
    /// It is not there, damaged, another program's, or of a newer schema.
    pub fn open(path: &Path) -> Result<Store> {
        let read = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut store = Store::connect(path, read)?;
        let identity = store.identity().or_else(|error| {
            if !error.wants_rollback() {
                return Err(error);
            }
            // a writer was killed: what it had begun is taken back, which takes the right to write
            Store::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?.identity()?;
            store = Store::connect(path, read)?;
            store.identity()
        });
        let Identity { application, version, .. } = identity?;
        store.check(application, version)?;
        if version < schema::READ_SINCE {
            return Err(Error::Older { path: path.to_owned(), found: version, known: schema::VERSION });
        }
        if version < schema::VERSION {
            // the tables that it lacks are made in a writer's hands only
            store.connection.execute_batch(schema::LACKING).map_err(|source| store.error(source))?;
        }
        Ok(store)
    }

    /// Opens a database for changes, makes one where none is, and brings an older one up to date.
    ///
    /// # Errors
    /// As [`Store::open`]; it cannot be written.
    pub fn create(path: &Path) -> Result<Store> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut store = Store::connect(path, flags)?;
        let Identity { application, version, tables } = store.identity()?;
        if application != 0 || version != 0 {
            store.check(application, version)?;
        } else if tables > 0 {
            return Err(store.foreign(0));
        }
        store.write(|transaction| {
            // another may have been here in between
            let version: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            for migration in &schema::MIGRATIONS[(version as usize).min(schema::MIGRATIONS.len())..] {
                transaction.execute_batch(migration)?;
            }
            transaction.pragma_update(None, "application_id", schema::APPLICATION)?;
            transaction.pragma_update(None, "user_version", schema::VERSION)
        })?;
        Ok(store)
    }

    /// A database that is nowhere but in memory.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn in_memory() -> Result<Store> {
        Store::create(Path::new(":memory:"))
    }

    /// Lets the database not grow beyond so many pages: what a full disk does, too.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn limit_pages(&self, pages: u32) -> Result<()> {
        self.connection.pragma_update(None, "max_page_count", pages).map_err(|source| self.error(source))
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Store> {
        // a pipe would be waited for, and a device is no database
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Error::Io { path: path.to_owned(), source: std::io::Error::other("no regular file") });
        }
        let connection = Connection::open_with_flags(path, flags)
            .and_then(|connection| connection.busy_timeout(PATIENCE).map(|()| connection))
            .map_err(|source| Error::Sqlite { path: path.to_owned(), source })?;
        Ok(Store { connection, path: path.to_owned() })
    }

    /// Whose it is, its schema, and how many tables it has: all of one moment, for another may be making it.
    fn identity(&self) -> Result<Identity> {
        let pragma = |name: &str| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let read = || {
            let moment = self.connection.unchecked_transaction()?;
            let identity = Identity {
                application: pragma("application_id")? as u32,
                version: pragma("user_version")? as u32,
                tables: moment.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?,
            };
            moment.commit()?;
            Ok(identity)
        };
        read().map_err(|source| self.error(source))
    }

    fn check(&self, application: u32, version: u32) -> Result<()> {
        if application != schema::APPLICATION {
            return Err(self.foreign(application));
        }
        if version > schema::VERSION {
            return Err(Error::Newer { path: self.path.clone(), found: version, known: schema::VERSION });
        }
        Ok(())
    }

    fn foreign(&self, id: u32) -> Error {
        Error::Foreign { path: self.path.clone(), id }
    }

    pub(crate) fn error(&self, source: rusqlite::Error) -> Error {
        Error::Sqlite { path: self.path.clone(), source }
    }

    /// Runs changes, all or none.
    pub(crate) fn write<T>(&mut self, change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let run = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = change(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        run(&mut self.connection).map_err(|source| Error::Sqlite { path: self.path.clone(), source })
    }

    /// Adds a file, where it comes from and its functions. What was there stays; a fact of the same method and place is told anew.
    ///
    /// # Errors
    /// The database cannot be written; then nothing of this was.
    pub fn add(&mut self, fingerprint: &Fingerprint, origins: &[Origin], facts: &[Fact]) -> Result<()> {
        self.write(|transaction| {
            let file = add_file(transaction, &fingerprint.key(), fingerprint)?;
            origins.iter().try_for_each(|origin| add_origin(transaction, file, origin))?;
            facts.iter().try_for_each(|fact| add_fact(transaction, schema::ADD_FUNCTION, file, fact))
        })
    }

    /// Removes what one method said of a file, so that it can be said anew.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn remove(&mut self, fingerprint: &Fingerprint, method: Method) -> Result<()> {
        let key = fingerprint.key();
        self.write(|transaction| {
            let Some(file) = file_of(transaction, &key)? else { return Ok(()) };
            transaction.execute(schema::REMOVE_FUNCTIONS, params![file, word(&method)?]).map(drop)
        })
    }

    /// Adds structs.
    ///
    /// # Errors
    /// The database cannot be written; then nothing of this was.
    pub fn add_layouts(&mut self, layouts: &[Layout]) -> Result<()> {
        self.write(|transaction| {
            layouts.iter().try_for_each(|layout| add_layout(transaction, schema::ADD_LAYOUT, layout))
        })
    }

    /// Adds the code of functions.
    ///
    /// # Errors
    /// The database cannot be written; then nothing of this was.
    pub fn add_signatures(&mut self, signatures: &[Signature]) -> Result<()> {
        self.write(|transaction| signatures.iter().try_for_each(|signature| add_signature(transaction, signature)))
    }

    /// The file of a fingerprint.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn known(&self, fingerprint: &Fingerprint) -> Result<Option<Known>> {
        Ok(self.query(schema::FILE, [fingerprint.key()], known)?.pop())
    }

    /// All files, in order of key.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn files(&self) -> Result<Vec<Known>> {
        self.query(schema::FILES, [], known)
    }

    /// The files of a build-id, in order of key: more than one where somebody changed the code and kept it.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn files_of_build_id(&self, build_id: &[u8]) -> Result<Vec<Known>> {
        self.query(schema::FILES_OF_BUILD_ID, [build_id], known)
    }

    /// The names that something is known of in any file, with and without parameters; in order.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        self.query(schema::NAMES, [], |row| row.get(0))
    }

    /// Where a file comes from, in order.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn origins(&self, file: &Known) -> Result<Vec<Origin>> {
        self.query(schema::ORIGINS, [file.id], |row| {
            Ok(Origin {
                ecosystem: row.get(0)?,
                package: row.get(1)?,
                version: row.get(2)?,
                tag: row.get(3)?,
                platform: row.get(4)?,
                path: row.get(5)?,
            })
        })
    }

    /// The copies of a file that were seen: xxh3-128 of the whole, and bytes.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn copies(&self, file: &Known) -> Result<Vec<(u128, u64)>> {
        self.query(schema::COPIES, [file.id], |row| {
            let hash: [u8; 16] = row.get(0)?;
            Ok((u128::from_be_bytes(hash), row.get::<_, i64>(1)? as u64))
        })
    }

    /// All that is known of a file's functions, in order of name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn facts(&self, file: &Known) -> Result<Vec<Fact>> {
        self.query(schema::FUNCTIONS, [file.id], fact)
    }

    /// What is known of a name in a file, its linkage name or the one without parameters; in order of address.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn facts_of(&self, file: &Known, name: &str) -> Result<Vec<Fact>> {
        self.query(schema::FUNCTIONS_OF_NAME, params![file.id, name], fact)
    }

    /// All structs, in order of package, version and name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn layouts(&self) -> Result<Vec<Layout>> {
        self.query(schema::LAYOUTS, [], layout)
    }

    /// What is known of a struct of a version of a package.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn layouts_of(&self, origin: &Origin, machine: &str, name: &str) -> Result<Vec<Layout>> {
        self.query(
            schema::LAYOUTS_OF_NAME,
            params![origin.ecosystem, origin.package, origin.version, machine, name],
            layout,
        )
    }

    /// The code of all functions, in order of package, machine and name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn signatures(&self) -> Result<Vec<Signature>> {
        self.query(schema::SIGNATURES, [], signature)
    }

    /// The code of a package's functions, of all its versions, in order of name; `scheme` as [`Signature::scheme`].
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn signatures_of(&self, ecosystem: &str, package: &str, machine: &str, scheme: u32) -> Result<Vec<Signature>> {
        self.query(schema::SIGNATURES_OF_PACKAGE, params![ecosystem, package, machine, scheme], signature)
    }

    /// The versions of a package that files are known of.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn versions(&self, ecosystem: &str, package: &str) -> Result<BTreeSet<String>> {
        Ok(self.query(schema::VERSIONS_OF_PACKAGE, [ecosystem, package], |row| row.get(0))?.into_iter().collect())
    }

    /// The files of a version of a package, in order of key.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn files_of(&self, ecosystem: &str, package: &str, version: &str) -> Result<Vec<Known>> {
        self.query(schema::FILES_OF_VERSION, [ecosystem, package, version], known)
    }

    /// Writes a database of the same facts, whose bytes depend on the facts only, not on the order in which they came: all rows are
    /// put in anew as an export has them. `path` must not exist.
    ///
    /// # Errors
    /// The database cannot be read, the copy not be written.
    pub fn write_sorted(&self, path: &Path) -> Result<()> {
        let mut text = Vec::new();
        crate::export(self, &mut text)?;
        let mut sorted = Store::in_memory()?;
        crate::merge(&mut sorted, &mut text.as_slice())?;
        let name = path.to_str().ok_or_else(|| Error::Io {
            path: path.to_owned(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidInput, "a path that is no UTF-8"),
        })?;
        let written = sorted.connection.execute(schema::COPY_INTO, [name]);
        written.map(drop).map_err(|source| Error::Sqlite { path: path.to_owned(), source })
    }

    /// What is in it.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn statistics(&self) -> Result<Statistics> {
        let (files, functions, layouts, signatures) = self
            .query(schema::COUNTS, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
            .pop()
            .unwrap_or_default();
        let packages = self.query(schema::COUNTS_OF_PACKAGES, [], |row| {
            Ok(PackageStatistics {
                ecosystem: row.get(0)?,
                package: row.get(1)?,
                versions: row.get(2)?,
                files: row.get(3)?,
                labelled: row.get(4)?,
                verified: row.get(5)?,
                probable: row.get(6)?,
            })
        })?;
        Ok(Statistics { files, functions, layouts, signatures, packages })
    }

    fn query<T, P: rusqlite::Params>(
        &self,
        sql: &'static str,
        values: P,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let run =
            || -> rusqlite::Result<Vec<T>> { self.connection.prepare_cached(sql)?.query_map(values, read)?.collect() };
        run().map_err(|source| self.error(source))
    }
}

/// What is in a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// Files.
    pub files: u32,
    /// Facts of functions.
    pub functions: u32,
    /// Structs.
    pub layouts: u32,
    /// Functions' code, by version.
    pub signatures: u32,
    /// By package, in order.
    pub packages: Vec<PackageStatistics>,
}

/// What is in a database of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageStatistics {
    /// Whose package it is.
    pub ecosystem: String,
    /// The package.
    pub package: String,
    /// Its versions.
    pub versions: u32,
    /// Its files.
    pub files: u32,
    /// Facts that the files, or their debug files, say themselves.
    pub labelled: u32,
    /// Facts by two independent witnesses.
    pub verified: u32,
    /// Facts that are probable only.
    pub probable: u32,
}

pub(crate) fn add_file(transaction: &Transaction<'_>, key: &str, file: &Fingerprint) -> rusqlite::Result<i64> {
    let text = file.text.to_be_bytes();
    transaction.execute(schema::ADD_FILE, params![key, file.build_id, text, file.machine, file.go_build_id])?;
    let id = file_of(transaction, key)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    // a line of an export says nothing of the copy
    if file.size > 0 {
        transaction.execute(schema::ADD_COPY, params![id, file.file.to_be_bytes(), file.size as i64])?;
    }
    Ok(id)
}

pub(crate) fn file_of(transaction: &Transaction<'_>, key: &str) -> rusqlite::Result<Option<i64>> {
    transaction.prepare_cached(schema::FILE_OF_KEY)?.query_row([key], |row| row.get(0)).optional()
}

pub(crate) fn add_origin(transaction: &Transaction<'_>, file: i64, origin: &Origin) -> rusqlite::Result<()> {
    let Origin { ecosystem, package, version, tag, platform, path } = origin;
    let mut statement = transaction.prepare_cached(schema::ADD_ORIGIN)?;
    statement.execute(params![file, ecosystem, package, version, tag, platform, path]).map(drop)
}

pub(crate) fn add_fact(transaction: &Transaction<'_>, how: &str, file: i64, fact: &Fact) -> rusqlite::Result<()> {
    let name: i64 = transaction
        .prepare_cached(schema::ADD_NAME)?
        .query_row(params![fact.name, fact.qualified], |row| row.get(0))?;
    let mut statement = transaction.prepare_cached(how)?;
    let values = params![
        file,
        name,
        fact.address.0 as i64,
        word(&fact.method)?,
        fact.size as i64,
        word(&fact.kind)?,
        word(&fact.confidence)?,
        json(&fact.evidence)?,
        json(&fact.returns)?,
    ];
    statement.execute(values).map(drop)
}

pub(crate) fn add_layout(transaction: &Transaction<'_>, how: &str, layout: &Layout) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(how)?;
    let values = params![
        layout.ecosystem,
        layout.package,
        layout.version,
        layout.machine,
        layout.configuration,
        layout.name,
        layout.source,
        layout.size as i64,
        json(&layout.evidence)?,
        json(&layout.fields)?,
    ];
    statement.execute(values).map(drop)
}

pub(crate) fn add_signature(transaction: &Transaction<'_>, signature: &Signature) -> rusqlite::Result<()> {
    let Signature { ecosystem, package, version, machine, name, scheme, code } = signature;
    let mut statement = transaction.prepare_cached(schema::ADD_SIGNATURE)?;
    statement.execute(params![ecosystem, package, machine, scheme, name, code.to_be_bytes(), version]).map(drop)
}

fn signature(row: &Row<'_>) -> rusqlite::Result<Signature> {
    Ok(Signature {
        ecosystem: row.get(0)?,
        package: row.get(1)?,
        machine: row.get(2)?,
        scheme: row.get(3)?,
        name: row.get(4)?,
        code: u64::from_be_bytes(row.get(5)?),
        version: row.get(6)?,
    })
}

fn known(row: &Row<'_>) -> rusqlite::Result<Known> {
    let text: [u8; 8] = row.get(3)?;
    Ok(Known {
        id: row.get(0)?,
        key: row.get(1)?,
        build_id: row.get(2)?,
        text: u64::from_be_bytes(text),
        machine: row.get(4)?,
        go_build_id: row.get(5)?,
    })
}

fn fact(row: &Row<'_>) -> rusqlite::Result<Fact> {
    Ok(Fact {
        name: row.get(0)?,
        qualified: row.get(1)?,
        address: VirtualAddress(row.get::<_, i64>(2)? as u64),
        size: row.get::<_, i64>(3)? as u64,
        kind: value::<Kind>(row, 4)?,
        method: value::<Method>(row, 5)?,
        confidence: value::<Confidence>(row, 6)?,
        evidence: list(row, 7)?,
        returns: list(row, 8)?,
    })
}

fn layout(row: &Row<'_>) -> rusqlite::Result<Layout> {
    Ok(Layout {
        ecosystem: row.get(0)?,
        package: row.get(1)?,
        version: row.get(2)?,
        machine: row.get(3)?,
        configuration: row.get(4)?,
        name: row.get(5)?,
        size: row.get::<_, i64>(6)? as u64,
        source: row.get(7)?,
        evidence: list(row, 8)?,
        fields: list::<Field>(row, 9)?,
    })
}

/// A word of the database, as serde has it.
fn value<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    let word: String = row.get(at)?;
    serde_json::from_value(serde_json::Value::String(word)).map_err(|error| conversion(at, error))
}

fn list<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<Vec<T>> {
    let text: String = row.get(at)?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(&text).map_err(|error| conversion(at, error))
}

fn conversion(at: usize, error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, Box::new(error))
}

fn word<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    let word = serde_json::to_value(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    Ok(word.as_str().unwrap_or_default().to_owned())
}

/// A list as JSON; nothing where it is empty.
fn json<T: Serialize>(list: &[T]) -> rusqlite::Result<String> {
    if list.is_empty() {
        return Ok(String::new());
    }
    serde_json::to_string(list).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}
