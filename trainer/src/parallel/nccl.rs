//! Workers with a GPU each: what is long goes from GPU to GPU by NVIDIA's NCCL, over `NVLink` or whatever joins them; what is short, and
//! what went wrong, goes by [`Tcp`], so that a worker which gives up is heard. Sums are made as with any other transport
//! ([`super::tree`]), so none of their bits depends on it.
//!
//! Source of the protocol: NCCL's user guide, "Point-to-point communication" (a send and a receive of one group run side by side).

#![expect(
    unsafe_code,
    reason = "NCCL takes pointers to memory of the GPU; each call is given buffers that outlive it"
)]

use std::ffi::c_char;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::cuda_backend::cudarc;
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr, DevicePtrMut, DriverError};
use cudarc::nccl::result::{self, NcclError};
use cudarc::nccl::sys;

use super::tcp::Tcp;
use super::transport::{Transport, failed};
use crate::error::{Error, Result};

/// Messages of more bytes go by NCCL.
const SHORT: usize = 64 << 10;
/// What a message by TCP begins with.
const INSIDE: u8 = 0;
const BY_NCCL: u8 = 1;
/// What comes before a message by TCP, or tells of one by NCCL.
const HEADER: usize = 1 + size_of::<u64>();
/// Between two looks at whether the GPU is done.
const PAUSE: Duration = Duration::from_micros(20);

/// One of several processes, with a GPU of its own.
pub struct Nccl {
    tcp: Tcp,
    stream: Arc<CudaStream>,
    communicator: sys::ncclComm_t,
    timeout: Duration,
}

impl fmt::Debug for Nccl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nccl")
            .field("tcp", &self.tcp)
            .finish_non_exhaustive()
    }
}

impl Nccl {
    /// Joins the workers that `tcp` connects, each of which calls this with a GPU that no other has: the `gpu`-th of its machine. One
    /// that says nothing for `timeout` is taken for dead.
    ///
    /// # Errors
    /// There is no such GPU or no NCCL, two workers have the same GPU, or a worker is lost.
    pub fn new(tcp: Tcp, gpu: usize, timeout: Duration) -> Result<Self> {
        let joined = || -> std::result::Result<_, Error> {
            let context = CudaContext::new(gpu).map_err(driver)?;
            let stream = context.new_stream().map_err(driver)?;
            let mut id = Vec::new();
            if tcp.rank() == 0 {
                let drawn = result::get_uniqueid().map_err(|error| nccl(&error))?;
                id.extend(drawn.internal.map(as_byte));
            }
            tcp.broadcast(&mut id, size_of::<sys::ncclUniqueId>())?;
            let id: [u8; size_of::<sys::ncclUniqueId>()] = id
                .try_into()
                .map_err(|_| failed(0, "what it told of NCCL cannot be read"))?;
            let id = sys::ncclUniqueId {
                internal: id.map(as_character),
            };
            let [workers, rank] =
                [tcp.workers(), tcp.rank()].map(|number| i32::try_from(number).unwrap_or(i32::MAX));
            let mut communicator = std::ptr::null_mut();
            // SAFETY: the communicator is written where one fits; the GPU is the current one since its context was made.
            unsafe { result::comm_init_rank(&raw mut communicator, workers, id, rank) }
                .map_err(|error| nccl(&error))?;
            Ok((stream, communicator))
        }();
        match joined {
            Ok((stream, communicator)) => Ok(Self {
                tcp,
                stream,
                communicator,
                timeout,
            }),
            Err(error) => {
                tcp.abort(&error.to_string());
                Err(error)
            }
        }
    }

    /// Sends and receives at the same time, from and to memory of the GPU.
    fn by_nccl(
        &self,
        sent: Option<(usize, &CudaSlice<u8>)>,
        received: Option<(usize, &mut CudaSlice<u8>)>,
    ) -> Result<()> {
        let peer = |rank: usize| i32::try_from(rank).unwrap_or(i32::MAX);
        let stream = self.stream.cu_stream().cast();
        let bytes = sys::ncclDataType_t::ncclUint8;
        let waited_for = received
            .as_ref()
            .map(|(from, _)| *from)
            .or(sent.map(|(to, _)| to));
        let Some(waited_for) = waited_for else {
            return Ok(());
        };
        result::group_start().map_err(|error| nccl(&error))?;
        let mut called = Ok(result::NcclStatus::Success);
        if let Some((to, slice)) = sent {
            let (pointer, _until_used) = slice.device_ptr(&self.stream);
            // SAFETY: the slice has as many bytes, and is kept until the stream has passed them on.
            called = unsafe {
                result::send(
                    pointer as *const _,
                    slice.len(),
                    bytes,
                    peer(to),
                    self.communicator,
                    stream,
                )
            };
        }
        if let (Some((from, slice)), Ok(_)) = (received, &called) {
            let count = slice.len();
            let (pointer, _until_used) = slice.device_ptr_mut(&self.stream);
            // SAFETY: as above.
            called = unsafe {
                result::recv(
                    pointer as *mut _,
                    count,
                    bytes,
                    peer(from),
                    self.communicator,
                    stream,
                )
            };
        }
        // A group that was begun is ended, whatever came of what is in it.
        let ended = result::group_end();
        called.and(ended).map_err(|error| nccl(&error))?;
        let passed = self.stream.record_event(None).map_err(driver)?;
        let deadline = Instant::now() + self.timeout;
        while !passed.is_complete() {
            if Instant::now() >= deadline {
                let seconds = self.timeout.as_secs();
                return Err(failed(
                    waited_for,
                    format!("it said nothing for {seconds} seconds, to NCCL"),
                ));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

impl Transport for Nccl {
    fn rank(&self) -> usize {
        self.tcp.rank()
    }

    fn workers(&self) -> usize {
        self.tcp.workers()
    }

    fn exchange(
        &self,
        sent: Option<(usize, &[u8])>,
        from: Option<usize>,
        received: &mut Vec<u8>,
        most: usize,
    ) -> Result<()> {
        let (header, long) = match sent {
            None => (Vec::new(), None),
            Some((to, bytes)) if bytes.len() > SHORT => (told(bytes.len()), Some((to, bytes))),
            Some((_, bytes)) => ([&[INSIDE], bytes].concat(), None),
        };
        let short = sent.map(|(to, _)| (to, &header[..]));
        let mut heard = Vec::new();
        let due = most.min(SHORT).saturating_add(HEADER);
        self.tcp.exchange(short, from, &mut heard, due)?;
        let comes = match from {
            None => None,
            Some(from) => match announced(&heard, most) {
                Some(length) => length.map(|length| (from, length)),
                None => {
                    return Err(failed(from, "it sent more than was due"));
                }
            },
        };
        let sends = match long {
            None => None,
            Some((to, bytes)) => Some((to, self.stream.clone_htod(bytes).map_err(driver)?)),
        };
        let mut receives = match comes {
            None => None,
            Some((from, length)) => {
                let room = self.stream.alloc_zeros(length).map_err(driver)?;
                Some((from, room))
            }
        };
        self.by_nccl(
            sends.as_ref().map(|(to, slice)| (*to, slice)),
            receives.as_mut().map(|(from, slice)| (*from, slice)),
        )?;
        match receives {
            Some((_, slice)) => *received = self.stream.clone_dtoh(&slice).map_err(driver)?,
            None if from.is_some() => {
                heard.remove(0);
                *received = heard;
            }
            None => {}
        }
        Ok(())
    }

    fn abort(&self, reason: &str) {
        self.tcp.abort(reason);
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        // What still waits for a worker that has gone would be waited for for ever by anything gentler.
        // SAFETY: it was made in `new` and is not used any more.
        let _ = unsafe { result::comm_abort(self.communicator) };
    }
}

/// What tells of a message of so many bytes by NCCL.
fn told(length: usize) -> Vec<u8> {
    [&[BY_NCCL][..], &(length as u64).to_le_bytes()].concat()
}

/// The bytes that come by NCCL after what was heard by TCP, if any do. None if those that came or will come are more than `most`, or
/// what was heard is of another kind.
fn announced(heard: &[u8], most: usize) -> Option<Option<usize>> {
    let (kind, rest) = heard.split_first()?;
    match *kind {
        INSIDE => (rest.len() <= most).then_some(None),
        BY_NCCL => {
            let length = u64::from_le_bytes(rest.try_into().ok()?);
            let length = usize::try_from(length).ok()?;
            (SHORT < length && length <= most).then_some(Some(length))
        }
        _ => None,
    }
}

// Characters of C have a sign on some processors and none on others.
const fn as_byte(character: c_char) -> u8 {
    u8::from_ne_bytes(character.to_ne_bytes())
}

const fn as_character(byte: u8) -> c_char {
    c_char::from_ne_bytes([byte])
}

fn driver(error: DriverError) -> Error {
    Error::Device(error.to_string())
}

/// What NCCL says. A GPU that two workers have is what it finds wrong most often.
fn nccl(error: &NcclError) -> Error {
    Error::Usage(format!(
        "NCCL failed: {:?}\nhint: each worker needs a GPU of its own (LOCAL_RANK says which of its machine); NCCL_DEBUG=INFO tells more, and --transport tcp does without",
        error.0
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_is_heard() {
        assert_eq!(announced(&told(SHORT + 1), 1 << 20), Some(Some(SHORT + 1)));
        assert_eq!(announced(&[INSIDE, 1, 2], 2), Some(None));
        assert_eq!(announced(&[INSIDE, 1, 2], 1), None);
        assert_eq!(announced(&told(1 << 21), 1 << 20), None);
        for strange in [&[][..], &[7], &[BY_NCCL, 1], &told(3)] {
            assert_eq!(announced(strange, 1 << 20), None, "{strange:?}");
        }
    }
}
