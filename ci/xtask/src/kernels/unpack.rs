//! Unpacks one file of a kernel's debug package, or a tool with all its libraries, without root.

use crate::{process, workspace};
use anyhow::{Context, Result, bail};
use apt::require_free;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A vmlinux with DWARF is below this many bytes.
const LARGEST_VMLINUX: u64 = 1 << 30;

/// Copies the kernel's image out of a package to `vmlinux`, which appears complete or not at all.
///
/// It has two names in the package, one of them a symbolic link: `boot/vmlinux-<release>`, a file until 7.1, and
/// `lib/modules/<release>/vmlinux`, a file since. tar gives a link no content, so both are asked for.
///
/// # Errors
/// The disk is too full, dpkg-deb or tar failed, or the package has no such file.
pub(crate) fn vmlinux(deb: &Path, vmlinux: &Path) -> Result<()> {
    let folder = workspace::create(vmlinux.parent().context("a path with a folder")?.to_path_buf())?;
    require_free(&folder, LARGEST_VMLINUX)?;
    let name = vmlinux.file_name().unwrap_or_default().to_string_lossy();
    let release = name.strip_prefix("vmlinux-").context("a path of the form vmlinux-<release>")?;
    let members = [format!("./usr/lib/debug/boot/{name}"), format!("./usr/lib/debug/lib/modules/{release}/vmlinux")];
    let unfinished = workspace::unfinished(vmlinux);
    let file = std::fs::File::create(&unfinished).with_context(|| format!("create {}", unfinished.display()))?;
    let mut packer = process::command("dpkg-deb", Path::new("/"));
    packer.arg("--fsys-tarfile").arg(deb).stdout(Stdio::piped());
    let mut tar = process::command("tar", Path::new("/"));
    tar.args(["-x", "--to-stdout"]).args(&members).stdout(file);
    eprintln!("+ {} | {} > {}", process::describe(&packer), process::describe(&tar), vmlinux.display());
    let mut packing = packer.spawn().context("start dpkg-deb")?;
    tar.stdin(packing.stdout.take().context("dpkg-deb's stdout")?);
    let unpacked = tar.status().context("start tar")?;
    drop(tar);
    let packed = packing.wait().context("wait for dpkg-deb")?;
    let size = std::fs::metadata(&unfinished).map_or(0, |meta| meta.len());
    if !unpacked.success() || !packed.success() || size == 0 {
        let _ = std::fs::remove_file(&unfinished);
        bail!(
            "{}: cannot unpack {} (dpkg-deb {packed}, tar {unpacked}, {size} bytes)",
            deb.display(),
            members.join(" or ")
        );
    }
    std::fs::rename(&unfinished, vmlinux).with_context(|| format!("write {}", vmlinux.display()))
}

/// Unpacks all packages into `folder`, with a script `run` that starts `program` by its own loader and libraries.
///
/// # Errors
/// dpkg-deb failed, or there is no dynamic loader among the packages.
pub(crate) fn tool(packages: &[PathBuf], program: &str, folder: &Path) -> Result<()> {
    let unfinished = workspace::create(workspace::unfinished(folder))?;
    eprintln!("+ unpack {} packages into {}", packages.len(), folder.display());
    for package in packages {
        process::stdout_of(process::command("dpkg-deb", Path::new("/")).arg("-x").arg(package).arg(&unfinished))?;
    }
    let (libraries, loader) = find_loader(&unfinished)?;
    let script = format!(
        "#!/bin/sh\nr=$(dirname \"$(readlink -f \"$0\")\")\n\
         exec \"$r/{libraries}/{loader}\" --library-path \"$r/{libraries}\" \"$r/{program}\" \"$@\"\n"
    );
    let run = unfinished.join("run");
    std::fs::write(&run, script).with_context(|| format!("write {}", run.display()))?;
    process::stdout_of(process::command("chmod", Path::new("/")).arg("+x").arg(&run))?;
    std::fs::rename(&unfinished, folder).with_context(|| format!("write {}", folder.display()))
}

/// `usr/lib/<triplet>` and the loader's name in it.
fn find_loader(root: &Path) -> Result<(String, String)> {
    let lib = root.join("usr/lib");
    for triplet in std::fs::read_dir(&lib).with_context(|| format!("read {}", lib.display()))?.flatten() {
        let Ok(entries) = std::fs::read_dir(triplet.path()) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // musl and the like have other names; Debian's packages are glibc's.
            if name.starts_with("ld-linux") || name.starts_with("ld64.so") {
                return Ok((format!("usr/lib/{}", triplet.file_name().to_string_lossy()), name));
            }
        }
    }
    bail!("{}: no dynamic loader among the packages", root.display())
}
