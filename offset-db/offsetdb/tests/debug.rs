//! Debug files, in folders and of a server of the test's own.

use image::Image;
use offsetdb::debug::{DebugFiles, Search};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A stripped file with its debug file, another build's debug file, and folders to look in.
struct World {
    folder: tempfile::TempDir,
    file: Vec<u8>,
    debug: Vec<u8>,
    other: Vec<u8>,
    build_id: String,
}

impl World {
    /// `None` where a tool is missing, which is a failure with `CI=true`.
    fn new() -> Option<World> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(folder.path().join("code.c"), "int doubled(int n) { return n * 2; }\n").unwrap();
        for line in [
            "gcc -g -O1 -shared -fPIC -Wl,--build-id -o whole.so code.c",
            "gcc -g -O2 -DOTHER -shared -fPIC -Wl,--build-id=0x0123456789abcdef -o other.so code.c",
            "objcopy --only-keep-debug whole.so whole.debug",
            "objcopy --only-keep-debug other.so other.debug",
            "objcopy --strip-all --add-gnu-debuglink=whole.debug whole.so file.so",
        ] {
            let mut words = line.split(' ');
            match Command::new(words.next().unwrap()).args(words).current_dir(folder.path()).output() {
                Ok(output) => assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr)),
                Err(error) => {
                    assert!(std::env::var("CI").as_deref() != Ok("true"), "{line}: {error}");
                    eprintln!("skipped: {line}: {error}");
                    return None;
                }
            }
        }
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        let (file, debug, other) = (read("file.so"), read("whole.debug"), read("other.debug"));
        std::fs::remove_file(folder.path().join("whole.debug")).unwrap();
        let id = Image::parse(&file).unwrap().build_ids().gnu.unwrap().to_vec();
        let build_id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(World { folder, file, debug, other, build_id })
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> PathBuf {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn files(&self, servers: &[&str]) -> DebugFiles {
        DebugFiles {
            folders: vec![self.at("debug")],
            servers: servers.iter().map(|server| (*server).to_owned()).collect(),
            cache: Some(self.at("cache")),
            patience: Duration::from_millis(500),
            largest: 1 << 20,
        }
    }

    fn find(&self, files: &DebugFiles) -> Search {
        files.find(Some(&self.at("file.so")), &Image::parse(&self.file).unwrap())
    }

    /// Files in the cache; none are left behind half.
    fn cached(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.at("cache")).map(|entries| entries.map(|entry| entry.unwrap().path()));
        entries.map(Iterator::collect).unwrap_or_default()
    }
}

#[test]
fn in_folders() {
    let Some(world) = World::new() else { return };
    let files = world.files(&[]);
    let check = |expected: Option<&Path>, tried: &[(&Path, &str)]| {
        let search = world.find(&files);
        assert_eq!(search.found.as_ref().map(|found| found.path.as_path()), expected, "{:?}", search.tried);
        if let Some(found) = search.found {
            assert_eq!(found.bytes[..], world.debug[..]);
        }
        let places: Vec<(&str, bool)> =
            search.tried.iter().zip(tried).map(|(one, (_, why))| (one.place.as_str(), one.why.contains(why))).collect();
        let expected: Vec<(&str, bool)> = tried.iter().map(|(place, _)| (place.to_str().unwrap(), true)).collect();
        assert_eq!((places, search.tried.len()), (expected, tried.len()), "{:?}", search.tried);
    };
    check(None, &[]);
    // by the link's name, worst place first: each next one is found before it
    let folder = world.folder.path().canonicalize().unwrap();
    let within = Path::new("debug").join(folder.strip_prefix("/").unwrap()).join("whole.debug");
    let last = world.put(within.to_str().unwrap(), &world.debug);
    check(Some(&last), &[]);
    let hidden = world.put(".debug/whole.debug", &world.debug);
    check(Some(&hidden), &[]);
    let beside = world.put("whole.debug", &world.other);
    check(Some(&hidden), &[(&beside, "build-id is 0123456789abcdef")]);
    std::fs::write(&beside, b"\x7fELF").unwrap();
    check(Some(&hidden), &[(&beside, "no ELF file")]);
    std::fs::write(&beside, b"").unwrap();
    check(Some(&hidden), &[(&beside, "")]);
    std::fs::write(&beside, &world.debug).unwrap();
    check(Some(&beside), &[]);
    let (begin, rest) = world.build_id.split_at(2);
    let by_id = world.put(&format!("debug/.build-id/{begin}/{rest}.debug"), &world.debug);
    check(Some(&by_id), &[]);
}

/// Answers each request by its path, until the test ends. Returns its URL and the paths that were asked for.
fn serve(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (paths, answer) = (Arc::clone(&asked), Arc::new(answer));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let path = request.split(' ').nth(1).unwrap().to_owned();
            paths.lock().unwrap().push(path.clone());
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || answer(&path, &mut stream));
        }
    });
    (url, asked)
}

fn respond(stream: &mut TcpStream, status: &str, length: usize, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    // who was told too much goes away
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

#[test]
fn of_a_server() {
    let Some(world) = World::new() else { return };
    let debug = world.debug.clone();
    let (url, asked) = serve(move |_, stream| respond(stream, "200 OK", debug.len(), &debug));
    let files = world.files(&["http://127.0.0.1:1/", &format!("{url}/")]);
    let search = world.find(&files);
    let found = search.found.unwrap_or_else(|| panic!("{:?}", search.tried));
    assert_eq!(found.bytes[..], world.debug[..]);
    assert_eq!(found.path, world.at("cache").join(format!("{}.debug", world.build_id)));
    assert_eq!(world.cached(), [found.path]);
    // the server before, which nobody is
    assert_eq!(search.tried.len(), 1);
    assert!(search.tried[0].place.starts_with("http://127.0.0.1:1/buildid/"), "{:?}", search.tried);
    assert_eq!(*asked.lock().unwrap(), [format!("/buildid/{}/debuginfo", world.build_id)]);
    // from the cache, the next time
    assert!(world.find(&files).found.is_some());
    assert_eq!(asked.lock().unwrap().len(), 1);
    // what somebody else put into the cache is seen, and asked for again
    std::fs::write(world.cached().pop().unwrap(), &world.other).unwrap();
    let search = world.find(&files);
    assert_eq!(search.found.unwrap().bytes[..], world.debug[..]);
    assert!(search.tried[0].why.contains("build-id"), "{:?}", search.tried);
    // no cache: nobody is asked, and nothing is written
    let search = world.find(&DebugFiles { cache: None, ..files });
    assert!(search.found.is_none());
    assert!(search.tried[0].why.contains("DEBUGINFOD_CACHE_PATH"), "{:?}", search.tried);
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[test]
fn of_a_server_that_lies() {
    let Some(world) = World::new() else { return };
    let (debug, other) = (world.debug.clone(), world.other.clone());
    let (url, _) = serve(move |path, stream| match path.split('/').nth(1).unwrap() {
        "missing" => respond(stream, "404 Not Found", 0, b""),
        "broken" => respond(stream, "500 Internal Server Error", 3, b"../"),
        "other" => respond(stream, "200 OK", other.len(), &other),
        "short" => respond(stream, "200 OK", debug.len(), &debug[..debug.len() / 2]),
        "cut" => respond(stream, "200 OK", debug.len() / 2, &debug[..100]),
        "empty" => respond(stream, "200 OK", 0, b""),
        "text" => respond(stream, "200 OK", 5, b"hello"),
        "large" => respond(stream, "200 OK", 2 << 20, &vec![0x7f; 2 << 20]),
        "garbage" => {
            let _ = stream.write_all(b"\x00\x01\x02\r\n\r\n");
        }
        "away" => {
            let to = "file:///etc/passwd";
            let _ = write!(stream, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        }
        "circle" => {
            let _ = write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        // says nothing for longer than anybody waits
        "silent" => std::thread::sleep(Duration::from_millis(1500)),
        other => panic!("{other}"),
    });
    let lies = [
        ("missing", "404"),
        ("broken", "500"),
        ("other", "build-id is 0123456789abcdef"),
        ("short", ""),
        ("cut", ""),
        ("empty", ""),
        ("text", "no ELF file"),
        ("large", "more than 1048576 bytes"),
        ("garbage", ""),
        ("away", ""),
        ("circle", "redirect"),
        ("silent", "timeout"),
    ];
    let before = files_of(world.folder.path());
    for (lie, why) in lies {
        let search = world.find(&world.files(&[&format!("{url}/{lie}")]));
        assert!(search.found.is_none(), "{lie}");
        assert_eq!(search.tried.len(), 1, "{lie}: {:?}", search.tried);
        assert!(search.tried[0].why.contains(why), "{lie}: {:?}", search.tried);
        assert!(!search.tried[0].why.is_empty(), "{lie}");
        assert_eq!(world.cached(), [] as [PathBuf; 0], "{lie}");
    }
    assert_eq!(files_of(world.folder.path()), before);
    // the cache cannot be made: said, and nothing else
    std::fs::remove_dir(world.at("cache")).unwrap();
    std::fs::write(world.at("cache"), "a file").unwrap();
    let search = world.find(&world.files(&[&format!("{url}/other")]));
    assert!(search.tried[0].why.contains("cache"), "{:?}", search.tried);
}

/// The files in a folder and below.
fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_of(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
