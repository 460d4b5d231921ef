//! Given a question about the host, gives the answer, portably; never decides anything by it.

mod device;

pub(crate) use device::{look_at, page_size, user};
