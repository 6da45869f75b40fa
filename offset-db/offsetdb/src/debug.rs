//! Separate debug files: of the system's folders, beside the file, and of debuginfod servers.
//!
//! Where they are looked for, in this order ("Separate Debug Files" of GDB's manual; debuginfod(8)):
//!
//! 1. `FOLDER/.build-id/ab/cdef….debug`, for each folder (`/usr/lib/debug`);
//! 2. by the name in `.gnu_debuglink`: beside the file, in `.debug` beside it, in `FOLDER` by the file's folder;
//! 3. the cache, then `URL/buildid/HEX/debuginfo` of each server in `DEBUGINFOD_URLS`, written to the cache.
//!
//! Whatever is found counts only if it is of the same build: by build-id, else by `.gnu_debuglink`'s checksum.

use anyhow::{Context, Result, anyhow, bail};
use image::Image;
use memmap2::Mmap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tracing::debug;

/// Where to look.
#[derive(Clone, Debug)]
pub struct DebugFiles {
    /// Folders like `/usr/lib/debug`.
    pub folders: Vec<PathBuf>,
    /// Servers: URLs without `/buildid`.
    pub servers: Vec<String>,
    /// Where what servers send is kept. Nothing is written elsewhere; without it, none is asked.
    pub cache: Option<PathBuf>,
    /// How long a server may send nothing.
    pub patience: Duration,
    /// The most bytes that are taken from a server.
    pub largest: u64,
}

/// A debug file.
#[derive(Debug)]
pub struct DebugFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Mmap,
}

/// What was looked at, and why it is not it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// A path or a URL.
    pub place: String,
    /// For people.
    pub why: String,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Search {
    /// `None`: nothing.
    pub found: Option<DebugFile>,
    /// What was there and is not it, and what could not be asked. Files that are not there are left out.
    pub tried: Vec<Tried>,
}

impl DebugFiles {
    /// The system's folder and what the environment says, with debuginfod's own variables: `DEBUGINFOD_URLS`,
    /// `DEBUGINFOD_CACHE_PATH`, `DEBUGINFOD_TIMEOUT` (seconds).
    #[must_use]
    pub fn of_environment() -> DebugFiles {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let home =
            || text("XDG_CACHE_HOME").map(PathBuf::from).or(text("HOME").map(|home| Path::new(&home).join(".cache")));
        let cache =
            text("DEBUGINFOD_CACHE_PATH").map(PathBuf::from).or(home().map(|home| home.join("offsetdb/debuginfod")));
        let seconds =
            text("DEBUGINFOD_TIMEOUT").and_then(|seconds| seconds.parse().ok()).filter(|seconds| *seconds > 0);
        DebugFiles {
            folders: vec![PathBuf::from("/usr/lib/debug")],
            servers: text("DEBUGINFOD_URLS").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            cache,
            patience: Duration::from_secs(seconds.unwrap_or(90)),
            largest: 4 << 30,
        }
    }

    /// Looks for the debug file of a file. `path` is where the file is, `None` where it is in an archive.
    #[must_use]
    pub fn find(&self, path: Option<&Path>, image: &Image<'_>) -> Search {
        let mut search = Search::default();
        let is_it = |debug: &Image<'_>| symbols::belongs(image, debug);
        let build_id = image.build_ids().gnu.and_then(name_of);
        for place in self.places(path, image, build_id.as_deref()) {
            if search.take(&place, &is_it) {
                return search;
            }
        }
        if let Some(build_id) = build_id {
            self.ask(&build_id, &is_it, &mut search);
        }
        search
    }

    /// Looks for what a debug file shares with others (`.gnu_debugaltlink`), by its build-id alone: the path in the link may be
    /// any.
    #[must_use]
    pub fn find_alternate(&self, debug: &Image<'_>) -> Search {
        let mut search = Search::default();
        let Some(build_id) = symbols::alternate_link(debug).and_then(|link| name_of(link.build_id)) else {
            return search;
        };
        let is_it = |alternate: &Image<'_>| symbols::is_alternate(debug, alternate);
        for folder in &self.folders {
            if search.take(&by_build_id(folder, &build_id), &is_it) {
                return search;
            }
        }
        self.ask(&build_id, &is_it, &mut search);
        search
    }

    fn places(&self, path: Option<&Path>, image: &Image<'_>, build_id: Option<&str>) -> Vec<PathBuf> {
        let mut places: Vec<PathBuf> = Vec::new();
        places.extend(build_id.iter().flat_map(|id| self.folders.iter().map(|folder| by_build_id(folder, id))));
        let link = symbols::debug_link(image).and_then(|link| std::str::from_utf8(link.name).ok());
        // a name with a folder in it is not what the link is for, and may lead anywhere
        let Some(name) = link.filter(|name| !name.contains('/') && !matches!(*name, "." | "..")) else { return places };
        let path = path.and_then(|path| path.canonicalize().ok());
        if let Some(folder) = path.as_deref().and_then(Path::parent) {
            places.push(folder.join(name));
            places.push(folder.join(".debug").join(name));
            let within = folder.strip_prefix("/").unwrap_or(folder);
            places.extend(self.folders.iter().map(|debug| debug.join(within).join(name)));
        }
        // the file itself, where it links to its own name
        places.retain(|place| Some(place) != path.as_ref());
        places
    }

    /// The cache, then each server.
    fn ask(&self, build_id: &str, is_it: &IsIt<'_>, search: &mut Search) {
        let Some(cache) = &self.cache else {
            let why = "no folder to keep it in: neither HOME nor DEBUGINFOD_CACHE_PATH".to_owned();
            search.tried.extend(self.servers.iter().map(|server| Tried { place: server.clone(), why: why.clone() }));
            return;
        };
        let cached = cache.join(format!("{build_id}.debug"));
        if search.take(&cached, is_it) {
            return;
        }
        for server in &self.servers {
            let url = format!("{}/buildid/{build_id}/debuginfo", server.trim_end_matches('/'));
            match self.download(&url, cache, &cached, is_it) {
                Ok(()) if search.take(&cached, is_it) => return,
                Ok(()) => {}
                Err(error) => search.tried.push(Tried { place: url, why: format!("{error:#}") }),
            }
        }
    }

    /// Writes what a server sends to the cache, if it is it: under another name first, so that no other process sees a part.
    fn download(&self, url: &str, cache: &Path, to: &Path, is_it: &IsIt<'_>) -> Result<()> {
        debug!("GET {url}");
        let agent = agent(url, self.patience)?;
        let mut response = agent.get(url).call()?;
        std::fs::create_dir_all(cache).with_context(|| cache.display().to_string())?;
        let mut file = tempfile::NamedTempFile::new_in(cache).with_context(|| cache.display().to_string())?;
        let mut reader = response.body_mut().as_reader();
        let mut buffer = vec![0; 64 << 10];
        let mut received = 0;
        loop {
            let count = reader.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            received += count as u64;
            if received > self.largest {
                bail!("more than {} bytes", self.largest);
            }
            file.write_all(&buffer[..count]).with_context(|| file.path().display().to_string())?;
        }
        file.flush().with_context(|| file.path().display().to_string())?;
        check(file.as_file(), is_it)?;
        file.persist(to).with_context(|| to.display().to_string())?;
        Ok(())
    }
}

type IsIt<'f> = dyn Fn(&Image<'_>) -> symbols::Result<()> + 'f;

impl Search {
    /// Takes a file, if it is there and is it.
    fn take(&mut self, place: &Path, is_it: &IsIt<'_>) -> bool {
        // a pipe or a device would be waited for
        if !place.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return false;
        }
        match File::open(place).map_err(anyhow::Error::from).and_then(|file| check(&file, is_it)) {
            Ok(bytes) => {
                self.found = Some(DebugFile { path: place.to_owned(), bytes });
                true
            }
            Err(error) => {
                self.tried.push(Tried { place: place.display().to_string(), why: format!("{error:#}") });
                false
            }
        }
    }
}

fn check(file: &File, is_it: &IsIt<'_>) -> Result<Mmap> {
    // SAFETY: who changes a debug file while it is read gets wrong answers, or SIGBUS where it is cut: as with every tool that
    // maps it
    let bytes = unsafe { Mmap::map(file) }?;
    is_it(&Image::parse(&bytes)?)?;
    Ok(bytes)
}

fn by_build_id(folder: &Path, build_id: &str) -> PathBuf {
    let (begin, rest) = build_id.split_at(2);
    folder.join(".build-id").join(begin).join(format!("{rest}.debug"))
}

/// Where the file of a build-id may be, itself and not its debug file: what `/usr/lib/debug` links to (Fedora), and what
/// debuginfod's client keeps (debuginfod-find(1)).
#[must_use]
pub fn files_of_build_id(digits: &str) -> Vec<PathBuf> {
    let digits = digits.to_ascii_lowercase();
    let Some((begin, rest)) = digits.split_at_checked(2).filter(|(_, rest)| !rest.is_empty()) else {
        return Vec::new();
    };
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut places = vec![Path::new("/usr/lib/debug/.build-id").join(begin).join(rest)];
    let home = || variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    let cache = variable("DEBUGINFOD_CACHE_PATH").or_else(|| home().map(|home| home.join("debuginfod_client")));
    places.extend(cache.map(|cache| cache.join(&digits).join("executable")));
    places
}

/// A build-id as names have it. `None`: it is too short or too long to be one.
fn name_of(build_id: &[u8]) -> Option<String> {
    (2..=64).contains(&build_id.len()).then(|| build_id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A client for one request.
fn agent(url: &str, patience: Duration) -> Result<ureq::Agent> {
    let mut config = ureq::Agent::config_builder()
        .user_agent(concat!("offsetdb/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(patience.min(Duration::from_secs(10))))
        .timeout_recv_response(Some(patience))
        .timeout_per_read(Some(patience))
        .max_redirects(5);
    if url.starts_with("https:") {
        let tls = ureq::tls::TlsConfig::builder()
            .provider(ureq::tls::TlsProvider::Rustls)
            .root_certs(ureq::tls::RootCerts::new_with_certs(&roots()?))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        config = config.tls_config(tls.build());
    }
    Ok(config.build().new_agent())
}

/// The system's certificates: Debian's, Fedora's and Alpine's place, or where OpenSSL is told to look.
fn roots() -> Result<Vec<ureq::tls::Certificate<'static>>> {
    const PLACES: [&str; 3] =
        ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
    let places = std::env::var_os("SSL_CERT_FILE").into_iter().map(PathBuf::from).chain(PLACES.map(PathBuf::from));
    let text = places.filter_map(|place| std::fs::read(place).ok()).next();
    let text = text.ok_or_else(|| anyhow!("no certificates: neither SSL_CERT_FILE nor {}", PLACES.join(", ")))?;
    let items = ureq::tls::parse_pem(&text);
    let certificates = items.filter_map(|item| match item {
        Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    Ok(certificates.collect())
}
