//! The program from outside: arguments in, files, texts and exit codes out.

mod check;
mod commands;
mod errors;
mod inputs;
mod pipelines;
mod results;
mod resume;
mod support;
