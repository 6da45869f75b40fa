//! The database's tables, and every statement that is run on them.

/// `PRAGMA application_id`: "lccO".
pub(crate) const APPLICATION: u32 = 0x6c63_634f;

/// `PRAGMA user_version`: the number of [`MIGRATIONS`].
pub(crate) const VERSION: u32 = MIGRATIONS.len() as u32;

/// What makes each version of the one before.
pub(crate) const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE file (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    build_id BLOB,
    text_hash BLOB NOT NULL,
    machine TEXT NOT NULL,
    go_build_id TEXT
) STRICT;
CREATE INDEX file_build_id ON file (build_id) WHERE build_id IS NOT NULL;
CREATE TABLE copy (
    file INTEGER NOT NULL REFERENCES file (id),
    file_hash BLOB NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (file, file_hash, size)
) STRICT, WITHOUT ROWID;
CREATE TABLE origin (
    file INTEGER NOT NULL REFERENCES file (id),
    ecosystem TEXT NOT NULL,
    package TEXT NOT NULL,
    version TEXT NOT NULL,
    tag TEXT NOT NULL,
    platform TEXT NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (file, ecosystem, package, version, tag, platform, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX origin_package ON origin (ecosystem, package, version);
CREATE TABLE name (
    id INTEGER PRIMARY KEY,
    linkage TEXT NOT NULL UNIQUE,
    qualified TEXT
) STRICT;
CREATE INDEX name_qualified ON name (qualified) WHERE qualified IS NOT NULL;
CREATE TABLE function (
    file INTEGER NOT NULL REFERENCES file (id),
    name INTEGER NOT NULL REFERENCES name (id),
    address INTEGER NOT NULL,
    method TEXT NOT NULL,
    size INTEGER NOT NULL,
    kind TEXT NOT NULL,
    confidence TEXT NOT NULL,
    evidence TEXT NOT NULL,
    returns TEXT NOT NULL,
    PRIMARY KEY (file, name, address, method)
) STRICT, WITHOUT ROWID;
CREATE TABLE layout (
    ecosystem TEXT NOT NULL,
    package TEXT NOT NULL,
    version TEXT NOT NULL,
    machine TEXT NOT NULL,
    configuration TEXT NOT NULL,
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    size INTEGER NOT NULL,
    evidence TEXT NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (ecosystem, package, version, machine, configuration, name, source, fields)
) STRICT, WITHOUT ROWID;
",
    SIGNATURE_TABLE,
];

/// The oldest version that is read as it is: what it lacks is empty.
pub(crate) const READ_SINCE: u32 = 1;

/// What a reader of such makes for itself.
pub(crate) const LACKING: &str = "PRAGMA temp_store = MEMORY; CREATE TEMP TABLE signature \
    (ecosystem TEXT, package TEXT, machine TEXT, scheme INTEGER, name TEXT, code BLOB, version TEXT)";

const SIGNATURE_TABLE: &str = "
CREATE TABLE signature (
    ecosystem TEXT NOT NULL,
    package TEXT NOT NULL,
    machine TEXT NOT NULL,
    scheme INTEGER NOT NULL,
    name TEXT NOT NULL,
    code BLOB NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (ecosystem, package, machine, scheme, name, code, version)
) STRICT, WITHOUT ROWID;
";

pub(crate) const ADD_FILE: &str = "INSERT INTO file (key, build_id, text_hash, machine, go_build_id) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (key) DO NOTHING";
pub(crate) const FILE_OF_KEY: &str = "SELECT id FROM file WHERE key = ?1";
pub(crate) const ADD_COPY: &str = "INSERT OR IGNORE INTO copy (file, file_hash, size) VALUES (?1, ?2, ?3)";
pub(crate) const ADD_ORIGIN: &str = "INSERT OR IGNORE INTO origin (file, ecosystem, package, version, tag, platform, path) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
pub(crate) const ADD_NAME: &str = "INSERT INTO name (linkage, qualified) VALUES (?1, ?2) \
    ON CONFLICT (linkage) DO UPDATE SET \
    qualified = coalesce(min(qualified, excluded.qualified), qualified, excluded.qualified) RETURNING id";
/// What is said anew of the same method and the same place replaces what was said before.
pub(crate) const ADD_FUNCTION: &str = "INSERT INTO function \
    (file, name, address, method, size, kind, confidence, evidence, returns) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
    ON CONFLICT DO UPDATE SET size = excluded.size, kind = excluded.kind, confidence = excluded.confidence, \
    evidence = excluded.evidence, returns = excluded.returns";
/// What another database says of the same method and the same place replaces what was said, if it is surer; of what is as sure, the
/// greater, so that the order of merges makes no difference.
pub(crate) const MERGE_FUNCTION: &str = "INSERT INTO function \
    (file, name, address, method, size, kind, confidence, evidence, returns) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
    ON CONFLICT DO UPDATE SET size = excluded.size, kind = excluded.kind, confidence = excluded.confidence, \
    evidence = excluded.evidence, returns = excluded.returns \
    WHERE (CASE excluded.confidence WHEN 'labelled' THEN 2 WHEN 'verified' THEN 1 ELSE 0 END, \
    excluded.size, excluded.kind, excluded.evidence, excluded.returns) \
    > (CASE function.confidence WHEN 'labelled' THEN 2 WHEN 'verified' THEN 1 ELSE 0 END, \
    function.size, function.kind, function.evidence, function.returns)";
pub(crate) const REMOVE_FUNCTIONS: &str = "DELETE FROM function WHERE file = ?1 AND method = ?2";
pub(crate) const FUNCTIONS_OF_NAME: &str = "SELECT n.linkage, n.qualified, f.address, f.size, f.kind, f.method, f.confidence, \
    f.evidence, f.returns FROM name n JOIN function f ON f.name = n.id AND f.file = ?1 \
    WHERE n.linkage = ?2 OR n.qualified = ?2 ORDER BY f.address, n.linkage, f.method";
pub(crate) const FUNCTIONS: &str = "SELECT n.linkage, n.qualified, f.address, f.size, f.kind, f.method, f.confidence, \
    f.evidence, f.returns FROM function f JOIN name n ON f.name = n.id WHERE f.file = ?1 ORDER BY n.linkage, f.address, f.method";
pub(crate) const ORIGINS: &str = "SELECT ecosystem, package, version, tag, platform, path FROM origin WHERE file = ?1 \
    ORDER BY ecosystem, package, version, tag, platform, path";
pub(crate) const COPIES: &str = "SELECT file_hash, size FROM copy WHERE file = ?1 ORDER BY file_hash, size";
pub(crate) const FILES: &str = "SELECT id, key, build_id, text_hash, machine, go_build_id FROM file ORDER BY key";
pub(crate) const FILE: &str = "SELECT id, key, build_id, text_hash, machine, go_build_id FROM file WHERE key = ?1";
pub(crate) const FILES_OF_BUILD_ID: &str =
    "SELECT id, key, build_id, text_hash, machine, go_build_id FROM file WHERE build_id = ?1 ORDER BY key";
pub(crate) const NAMES: &str =
    "SELECT linkage FROM name UNION SELECT qualified FROM name WHERE qualified IS NOT NULL ORDER BY 1";
pub(crate) const ADD_LAYOUT: &str = "INSERT INTO layout \
    (ecosystem, package, version, machine, configuration, name, source, size, evidence, fields) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO UPDATE SET size = excluded.size, evidence = excluded.evidence";
/// As [`MERGE_FUNCTION`].
pub(crate) const MERGE_LAYOUT: &str = "INSERT INTO layout \
    (ecosystem, package, version, machine, configuration, name, source, size, evidence, fields) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO UPDATE SET size = excluded.size, evidence = excluded.evidence \
    WHERE (excluded.size, excluded.evidence) > (layout.size, layout.evidence)";
pub(crate) const ADD_SIGNATURE: &str = "INSERT OR IGNORE INTO signature \
    (ecosystem, package, machine, scheme, name, code, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
pub(crate) const SIGNATURES: &str = "SELECT ecosystem, package, machine, scheme, name, code, version FROM signature \
    ORDER BY ecosystem, package, machine, scheme, name, code, version";
pub(crate) const SIGNATURES_OF_PACKAGE: &str = "SELECT ecosystem, package, machine, scheme, name, code, version FROM signature \
    WHERE ecosystem = ?1 AND package = ?2 AND machine = ?3 AND scheme = ?4 ORDER BY name, code, version";
pub(crate) const VERSIONS_OF_PACKAGE: &str =
    "SELECT DISTINCT version FROM origin WHERE ecosystem = ?1 AND package = ?2";
pub(crate) const FILES_OF_VERSION: &str = "SELECT DISTINCT f.id, f.key, f.build_id, f.text_hash, f.machine, f.go_build_id \
    FROM origin o JOIN file f ON f.id = o.file WHERE o.ecosystem = ?1 AND o.package = ?2 AND o.version = ?3 ORDER BY f.key";
pub(crate) const LAYOUTS: &str = "SELECT ecosystem, package, version, machine, configuration, name, size, source, evidence, fields \
    FROM layout ORDER BY ecosystem, package, version, machine, configuration, name, source, fields";
pub(crate) const LAYOUTS_OF_NAME: &str = "SELECT ecosystem, package, version, machine, configuration, name, size, source, evidence, \
    fields FROM layout WHERE ecosystem = ?1 AND package = ?2 AND version = ?3 AND machine = ?4 AND name = ?5 \
    ORDER BY configuration, source, fields";
/// A whole copy without what was deleted, of which the same tables give the same bytes.
pub(crate) const COPY_INTO: &str = "VACUUM INTO ?1";
pub(crate) const COUNTS: &str = "SELECT (SELECT count(*) FROM file), (SELECT count(*) FROM function), (SELECT count(*) FROM layout), \
    (SELECT count(*) FROM signature)";
pub(crate) const COUNTS_OF_PACKAGES: &str = "SELECT o.ecosystem, o.package, count(DISTINCT o.version), count(DISTINCT o.file), \
    (SELECT count(*) FROM function f WHERE f.file IN (SELECT p.file FROM origin p WHERE p.ecosystem = o.ecosystem AND p.package = o.package) \
    AND f.confidence = 'labelled'), \
    (SELECT count(*) FROM function f WHERE f.file IN (SELECT p.file FROM origin p WHERE p.ecosystem = o.ecosystem AND p.package = o.package) \
    AND f.confidence = 'verified'), \
    (SELECT count(*) FROM function f WHERE f.file IN (SELECT p.file FROM origin p WHERE p.ecosystem = o.ecosystem AND p.package = o.package) \
    AND f.confidence = 'probable') \
    FROM origin o GROUP BY o.ecosystem, o.package ORDER BY o.ecosystem, o.package";
