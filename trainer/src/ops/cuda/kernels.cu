// Kernels of the trainer on NVIDIA GPUs, compiled when the program starts (NVRTC). A block takes a row, or a fixed stretch of
// numbers; sums go through a tree of fixed shape, so equal inputs give equal bits. Formulas are those of ops/fused.

#define THREADS 256
#define EPSILON 1e-5f

// The sum over a block, for every thread.
template <typename T> __device__ T sum_of(T x) {
    __shared__ T shared[32];
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    __syncthreads();
    if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = x;
    __syncthreads();
    T total = 0;
    for (int i = 0; i < THREADS / 32; i++) total += shared[i];
    return total;
}

__device__ float largest_of(float x) {
    __shared__ float shared[32];
    for (int step = 16; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    __syncthreads();
    if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = x;
    __syncthreads();
    float largest = shared[0];
    for (int i = 1; i < THREADS / 32; i++) largest = fmaxf(largest, shared[i]);
    return largest;
}

// Rows of a table.
extern "C" __global__ void embed(float* out, const float* table, const unsigned* ids, int width) {
    long row = blockIdx.x;
    const float* from = table + (long)ids[row] * width;
    for (int j = threadIdx.x; j < width; j += THREADS) out[row * width + j] = from[j];
}

// Adds rows to a table, those of one id in the order of rows; `order` has the rows by id, `first` where each id's begin.
extern "C" __global__ void embed_backward(float* table, const float* dx, const unsigned* order, const unsigned* first, const unsigned* ids, int width) {
    long id = ids[order[first[blockIdx.x]]];
    for (int j = threadIdx.x; j < width; j += THREADS) {
        float sum = table[id * width + j];
        for (unsigned at = first[blockIdx.x]; at < first[blockIdx.x + 1]; at++) sum += dx[(long)order[at] * width + j];
        table[id * width + j] = sum;
    }
}

__device__ void statistics(const float* x, int width, int rms, float* mean, float* inverse) {
    float sum = 0;
    for (int j = threadIdx.x; j < width; j += THREADS) sum += x[j];
    *mean = rms ? 0.0f : sum_of(sum) / width;
    float squares = 0;
    for (int j = threadIdx.x; j < width; j += THREADS) squares += (x[j] - *mean) * (x[j] - *mean);
    *inverse = 1.0f / sqrtf(sum_of(squares) / width + EPSILON);
}

extern "C" __global__ void norm_rows(float* y, const float* x, const float* gain, int width, int rms) {
    long at = (long)blockIdx.x * width;
    float mean, inverse;
    statistics(x + at, width, rms, &mean, &inverse);
    for (int j = threadIdx.x; j < width; j += THREADS) y[at + j] = (x[at + j] - mean) * inverse * gain[j];
}

// Adds to dx; the gain's gradient of the block's rows goes to `part`.
extern "C" __global__ void norm_backward(float* dx, float* part, const float* x, const float* gain, const float* dy, int width, int rms, int rows, int rows_a_block) {
    float* mine = part + (long)blockIdx.x * width;
    for (int j = threadIdx.x; j < width; j += THREADS) mine[j] = 0;
    int first = blockIdx.x * rows_a_block, last = min(first + rows_a_block, rows);
    for (int row = first; row < last; row++) {
        long at = (long)row * width;
        float mean, inverse, of_mean = 0, of_deviation = 0;
        statistics(x + at, width, rms, &mean, &inverse);
        for (int j = threadIdx.x; j < width; j += THREADS) {
            float h = (x[at + j] - mean) * inverse, w = dy[at + j] * gain[j];
            mine[j] += dy[at + j] * h;
            of_mean += w;
            of_deviation += w * h;
        }
        of_mean = rms ? 0.0f : sum_of(of_mean) / width;
        of_deviation = sum_of(of_deviation) / width;
        for (int j = threadIdx.x; j < width; j += THREADS) {
            float h = (x[at + j] - mean) * inverse, w = dy[at + j] * gain[j];
            dx[at + j] += inverse * (w - of_mean - h * of_deviation);
        }
    }
}

extern "C" __global__ void add_parts(float* sum, const float* part, int parts, int width) {
    int j = blockIdx.x * THREADS + threadIdx.x;
    if (j >= width) return;
    float total = 0;
    for (int i = 0; i < parts; i++) total += part[(long)i * width + j];
    sum[j] += total;
}

extern "C" __global__ void rotate(float* x, const float* cos, const float* sin, int positions, int heads, int half, float sign, long pairs) {
    long at = (long)blockIdx.x * THREADS + threadIdx.x;
    if (at >= pairs) return;
    int j = at % half;
    long head = at / half;
    int place = head / heads % positions * half + j;
    float* pair = x + head * 2 * half + j;
    float a = pair[0], b = pair[half], c = cos[place], s = sign * sin[place];
    pair[0] = a * c - b * s;
    pair[half] = b * c + a * s;
}

__device__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

extern "C" __global__ void swiglu(float* y, const float* x, int width, long count) {
    long at = (long)blockIdx.x * THREADS + threadIdx.x;
    if (at >= count) return;
    const float* row = x + at / width * 2 * width + at % width;
    y[at] = row[0] * row[width] * sigmoid(row[width]);
}

extern "C" __global__ void swiglu_backward(float* x, const float* dy, int width, long count) {
    long at = (long)blockIdx.x * THREADS + threadIdx.x;
    if (at >= count) return;
    float* row = x + at / width * 2 * width + at % width;
    float up = row[0], gate = row[width], s = sigmoid(gate);
    row[0] = dy[at] * gate * s;
    row[width] = dy[at] * up * s * (1.0f + gate * (1.0f - s));
}

extern "C" __global__ void gelu(float* y, const float* x, int width, long count) {
    long at = (long)blockIdx.x * THREADS + threadIdx.x;
    if (at < count) y[at] = x[at] * normcdff(x[at]);
}

extern "C" __global__ void gelu_backward(float* x, const float* dy, int width, long count) {
    long at = (long)blockIdx.x * THREADS + threadIdx.x;
    if (at >= count) return;
    float density = 0.3989422804014327f * expf(-0.5f * x[at] * x[at]);
    x[at] = dy[at] * (normcdff(x[at]) + x[at] * density);
}

// What a row of scores is: the sequence, the position in it, the head, and the first key it sees.
struct Row {
    long token;
    int position, head, start;
};

__device__ Row row_of(long row, int count, int first, int positions, int heads, int folded, const unsigned* starts) {
    Row it;
    long in_sequence = row % ((long)count * heads);
    int place = folded ? in_sequence / heads : in_sequence % count;
    it.head = folded ? in_sequence % heads : in_sequence / count;
    it.position = first + place;
    it.token = row / ((long)count * heads) * positions + it.position;
    it.start = starts ? min((int)starts[it.token], it.position) : 0;
    return it;
}

__device__ float score(float product, float scale, const float* slopes, const Row& it, int key) {
    return product * scale + (slopes ? slopes[it.head] * (key - it.position) : 0.0f);
}

// Scores to probabilities in place, and the logarithms of the sums.
extern "C" __global__ void attend(float* scores, float* sums, const float* slopes, const unsigned* starts, int count, int first, int end, int positions, int heads, int folded, float scale) {
    float* row = scores + (long)blockIdx.x * end;
    Row it = row_of(blockIdx.x, count, first, positions, heads, folded, starts);
    float largest = -1e30f;
    for (int j = threadIdx.x; j < end; j += THREADS)
        if (j >= it.start && j <= it.position) largest = fmaxf(largest, score(row[j], scale, slopes, it, j));
    largest = largest_of(largest);
    float total = 0;
    for (int j = threadIdx.x; j < end; j += THREADS) {
        float p = j >= it.start && j <= it.position ? expf(score(row[j], scale, slopes, it, j) - largest) : 0.0f;
        row[j] = p;
        total += p;
    }
    total = sum_of(total);
    for (int j = threadIdx.x; j < end; j += THREADS) row[j] /= total;
    if (threadIdx.x == 0) sums[it.token * heads + it.head] = largest + logf(total);
}

// Scores to probabilities and the gradients of these to those of the scores, both in place.
extern "C" __global__ void attend_backward(float* scores, float* dscores, const float* sums, const float* o, const float* dout, const float* slopes, const unsigned* starts, int count, int first, int end, int positions, int heads, int size, int folded, float scale) {
    long at = (long)blockIdx.x * end;
    Row it = row_of(blockIdx.x, count, first, positions, heads, folded, starts);
    long mine = (it.token * heads + it.head) * size;
    float delta = 0;
    for (int j = threadIdx.x; j < size; j += THREADS) delta += dout[mine + j] * o[mine + j];
    delta = sum_of(delta);
    float sum = sums[it.token * heads + it.head];
    for (int j = threadIdx.x; j < end; j += THREADS) {
        float p = j >= it.start && j <= it.position ? expf(score(scores[at + j], scale, slopes, it, j) - sum) : 0.0f;
        dscores[at + j] = p == 0.0f ? 0.0f : p * (dscores[at + j] - delta) * scale;
        scores[at + j] = p;
    }
}

// The losses of a row of logits, which becomes their scaled gradient.
extern "C" __global__ void row_loss(float* logits, double* losses, const unsigned* ids, const unsigned char* trained, int vocabulary, float scale, float z_loss, float smoothing) {
    long at = (long)blockIdx.x * vocabulary;
    float* row = logits + at;
    if (!trained[blockIdx.x]) {
        for (int j = threadIdx.x; j < vocabulary; j += THREADS) row[j] = 0;
        if (threadIdx.x == 0) losses[2 * blockIdx.x] = losses[2 * blockIdx.x + 1] = 0;
        return;
    }
    unsigned target = ids[blockIdx.x];
    float largest = -1e30f, all = 0;
    for (int j = threadIdx.x; j < vocabulary; j += THREADS) {
        largest = fmaxf(largest, row[j]);
        all += row[j];
    }
    largest = largest_of(largest);
    all = sum_of(all);
    float total = 0, at_target = row[target];
    for (int j = threadIdx.x; j < vocabulary; j += THREADS) total += expf(row[j] - largest);
    total = sum_of(total);
    double log_total = (double)largest + log((double)total);
    if (threadIdx.x == 0) {
        double nats = log_total - at_target, mean = (double)all / vocabulary;
        losses[2 * blockIdx.x] = nats;
        losses[2 * blockIdx.x + 1] = nats + smoothing * (at_target - mean) + z_loss * log_total * log_total;
    }
    float factor = scale * (1.0f + 2.0f * z_loss * (float)log_total) / total, spread = scale * smoothing / vocabulary;
    __syncthreads();
    for (int j = threadIdx.x; j < vocabulary; j += THREADS) {
        float x = expf(row[j] - largest) * factor - spread;
        row[j] = j == target ? x - scale * (1.0f - smoothing) : x;
    }
}

extern "C" __global__ void squares(double* parts, const float* x, long count, long stretch) {
    long first = blockIdx.x * stretch, last = min(first + stretch, count);
    double sum = 0;
    for (long at = first + threadIdx.x; at < last; at += THREADS) sum += (double)x[at] * x[at];
    sum = sum_of(sum);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

extern "C" __global__ void adam(float* p, const float* g, float* m, float* v, long count, float factor, float keep, float rate, float beta1, float new1, float beta2, float new2, float root, float epsilon) {
    long at = (long)blockIdx.x * THREADS + threadIdx.x;
    if (at >= count) return;
    float x = g[at] * factor;
    m[at] = beta1 * m[at] + new1 * x;
    v[at] = beta2 * v[at] + new2 * x * x;
    p[at] = p[at] * keep - rate * m[at] / (sqrtf(v[at]) * root + epsilon);
}

extern "C" __global__ void lion(float* p, const float* g, float* m, long count, float factor, float keep, float rate, float beta1, float new1, float beta2, float new2) {
    long at = (long)blockIdx.x * THREADS + threadIdx.x;
    if (at >= count) return;
    float x = g[at] * factor, step = beta1 * m[at] + new1 * x;
    p[at] = p[at] * keep - (step > 0 ? rate : step < 0 ? -rate : 0.0f);
    m[at] = beta2 * m[at] + new2 * x;
}

// What a gradient outgrows its second moment by, added up: g^2 / max(v, least), v the corrected moment with the gradient in it.
extern "C" __global__ void outgrown(double* parts, const float* g, const float* v, long count, long stretch, double factor, double beta2, double correction, double least) {
    long first = blockIdx.x * stretch, last = min(first + stretch, count);
    double sum = 0;
    for (long at = first + threadIdx.x; at < last; at += THREADS) {
        double square = g[at] * factor * (g[at] * factor);
        double moment = (beta2 * v[at] + (1.0 - beta2) * square) * correction;
        sum += square / fmax(moment, least);
    }
    sum = sum_of(sum);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// Numbers rounded to bf16, of two as near the even one; rows, and matrices of so many rows, one after the other.
extern "C" __global__ void round_rows(unsigned short* out, const float* x, long columns, long stride, long rows, long next, long count) {
    long at = (long)blockIdx.x * THREADS + threadIdx.x;
    if (at >= count) return;
    long row = at / columns;
    unsigned bits = __float_as_uint(x[row / rows * next + row % rows * stride + at % columns]);
    // Rounding could make an infinity of what is no number.
    out[at] = (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
