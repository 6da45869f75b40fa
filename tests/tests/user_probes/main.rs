//! Probes of living processes, where the database says that functions begin: they count what was sent, exactly, and see it before
//! it is encrypted. As root. Each process is this test's own, and only it is looked at.

mod frames;
mod go;
mod grpc;
mod hidden;
mod probes;
mod python_ssl;
