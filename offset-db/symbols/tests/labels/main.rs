//! Labels of real files, held against what other tools and the programs themselves say.

mod debug_files;
mod go;
mod layouts;
mod tables;
mod toolchain;
